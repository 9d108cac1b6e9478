"""What lies elsewhere: fetched, and known by what was published of it."""

"""Files of tables: what separates their cells, where their lines end, what heads them."""

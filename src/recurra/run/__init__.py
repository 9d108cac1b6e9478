"""What a run is: its config, the presets, its directory, its report, and how it is carried out."""

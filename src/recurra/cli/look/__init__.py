"""Commands that show what there is: presets, data, runs, the machine."""

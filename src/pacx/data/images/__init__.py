"""One image file in, one grey film out: the door through which a stranger's file enters."""

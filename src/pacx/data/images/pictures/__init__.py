"""The formats of pictures, one file each, and what their samples become: grey 8-bit pixels."""

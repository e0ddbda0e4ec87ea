"""A stranger's file to a film, in processes that may be killed."""

"""One recording as a person looks at it: on paper of millimetres, with what is wrong."""

"""Result rows and run folders in; tables, figures and one self-contained page out."""

"""From a hospital's own tables to pairs: which film, ECG and laboratory values belong together, and what was lost."""

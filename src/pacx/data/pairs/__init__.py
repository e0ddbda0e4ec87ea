"""Which films, ECGs and laboratory values belong together, as ``pacx data link`` wrote it down."""

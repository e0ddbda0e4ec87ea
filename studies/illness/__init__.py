"""Does Stage 2 teach what an illness is, or only how ill a patient is? By numbers of pairs, with a ceiling."""

"""Plans of an environment for SGLang, how they are written down, and how they are carried out."""

//! Merging, in the words of the specification's chapter on it.

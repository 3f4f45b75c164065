//! Laws by brute force and by random cases.

//! End-to-end tests of tlc as its users see it: the tests are in `end_to_end/`.

//! End-to-end tests of the crates together: the tests are in `end_to_end/`.

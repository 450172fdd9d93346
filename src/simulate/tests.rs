//! Tests of simulating as a whole.

"""Classical filters that the imputer is compared with."""

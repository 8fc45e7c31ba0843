"""What ``fedmend doctor`` looks at, before a site joins and while it takes part."""

"""What a folder of images holds, and how noisy each of them is: for the site's own eyes."""

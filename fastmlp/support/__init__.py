"""What every part of the package leans on: checks of arguments, files, notices, extras."""

// Package configs is hearth's configuration: one documented struct, read from a YAML file and from HEARTH_…
// variables, checked as a whole so that all mistakes are told at once.
//
// A key is written down in one place, its field in config.go: the yaml tag is its name in the file and, in
// capitals behind HEARTH_SECTION_, in the environment; the comment above it is its documentation, in the sample
// file and in `hearth config env` too; Default is its value when nobody sets it.
//
// The package imports nothing else of hearth, and only cmd imports it.
package configs

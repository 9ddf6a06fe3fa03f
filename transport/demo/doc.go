// Package demo is the server's side of the page at /demo, whose files lie in transport/pages: its configuration, and tokens
// for whatever name a visitor picks – which is why it belongs on a developer's machine, or where nothing but it is. The page
// uses the public API only.
package demo

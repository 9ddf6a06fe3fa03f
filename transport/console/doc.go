// Package console is /console: the page for operators and the API it is made of, which `hearth top` and `hearth inspect`
// use as well. README.md has its routes and what they promise.
package console

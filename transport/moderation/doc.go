// Package moderation is the word list: what users write is looked through for words that an operator has listed, and
// refused or masked. The list is a file that is read again when it changes; README.md has its form.
package moderation

package moderation

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	ahocorasick "github.com/BobuSumisu/aho-corasick"
)

// verdict is what is to be done about a text. The later, the stricter.
type verdict uint8

const (
	clean verdict = iota
	mask
	reject
)

// maxListBytes bounds a list's words: the automaton takes 2 kB of memory a byte that no two words share.
const maxListBytes = 1 << 20

// list is a word list, ready to be looked for. It does not change.
type list struct {
	trie  *ahocorasick.Trie
	words [][]rule // of the trie's patterns, by their number
}

// rule is what a line says of a word.
type rule struct {
	do         verdict
	start, end bool // whether the word must begin there, and end
}

// parse reads a list. Errors name the line, and no word.
func parse(text string) (*list, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("is not valid UTF-8")
	}
	l := &list{}
	build := ahocorasick.NewTrieBuilder()
	numbers := make(map[string]int)
	total, number := 0, 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\uFEFF")) {
		number++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		word, r, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		n, known := numbers[word]
		if !known {
			if total += len(word); total > maxListBytes {
				return nil, fmt.Errorf("line %d: the words take more than %d bytes", number, maxListBytes)
			}
			n = len(l.words)
			numbers[word], l.words = n, append(l.words, nil)
			build.AddString(word)
		}
		l.words[n] = append(l.words[n], r)
	}
	l.trie = build.Build()
	return l, nil
}

// parseLine reads "reject: word" or "mask: *word*". The word comes folded.
func parseLine(line string) (word string, r rule, err error) {
	action, word, found := strings.Cut(line, ":")
	switch {
	case found && action == "reject":
		r.do = reject
	case found && action == "mask":
		r.do = mask
	default:
		return "", r, errors.New(`must begin with "reject:" or "mask:"`)
	}
	word, startOpen := strings.CutPrefix(strings.TrimSpace(word), "*")
	word, endOpen := strings.CutSuffix(word, "*")
	word = fold(strings.TrimSpace(word))
	if word == "" {
		return "", r, errors.New("has no word")
	}
	first, _ := utf8.DecodeRuneInString(word)
	last, _ := utf8.DecodeLastRuneInString(word)
	r.start, r.end = !startOpen && inWord(first), !endOpen && inWord(last)
	return word, r, nil
}

// span is a part of a folded text.
type span struct{ start, end int }

// find looks for the list's words in a folded text, in one pass, and appends where those to be masked stand. It ends
// with the first that is to be rejected.
func (l *list) find(folded []byte, masked []span) (verdict, []span) {
	worst := clean
	l.trie.Walk(folded, func(last, n, pattern int64) bool {
		at := span{int(last - n + 1), int(last + 1)}
		if do := l.judge(folded, at, int(pattern)); do != clean {
			worst = max(worst, do)
			masked = append(masked, at)
		}
		return worst != reject
	})
	return worst, masked
}

// judge is the strictest that the list says of a word at this place.
func (l *list) judge(folded []byte, at span, word int) (worst verdict) {
	before, _ := utf8.DecodeLastRune(folded[:at.start]) // none: no letter either
	after, _ := utf8.DecodeRune(folded[at.end:])
	for _, r := range l.words[word] {
		if r.start && inWord(before) || r.end && inWord(after) {
			continue
		}
		worst = max(worst, r.do)
	}
	return worst
}

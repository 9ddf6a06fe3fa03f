package moderation

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// folding goes through a text piece by piece and writes each as words are compared: by compatibility (NFKC: ﬁ is fi,
// full width is half), without case, and without what shows nothing. A piece is a character, or as many as belong together.
type folding struct {
	text   []byte
	at     int       // where the next piece begins
	normal int       // the text is normal up to here
	piece  norm.Iter // of one that is not
}

func (f *folding) begin(text []byte) { f.text, f.at, f.normal = text, 0, 0 }

func (f *folding) more() bool { return f.at < len(f.text) }

// next appends the next piece.
func (f *folding) next(dst []byte) []byte {
	rest := f.text[f.at:]
	if f.at >= f.normal {
		f.normal = f.at + norm.NFKC.QuickSpan(rest)
	}
	if f.at < f.normal {
		r, n := utf8.DecodeRune(rest)
		f.at += n
		return appendFolded(dst, r)
	}
	n := norm.NFKC.NextBoundary(rest, true)
	f.at += n
	for f.piece.Init(norm.NFKC, rest[:n]); !f.piece.Done(); {
		for part := f.piece.Next(); len(part) > 0; {
			r, size := utf8.DecodeRune(part)
			dst, part = appendFolded(dst, r), part[size:]
		}
	}
	return dst
}

func appendFolded(dst []byte, r rune) []byte {
	switch {
	case 'a' <= r && r <= 'z':
		return append(dst, byte(r)-'a'+'A')
	case r < utf8.RuneSelf:
		return append(dst, byte(r))
	case '\u2E80' <= r && r <= '\uA48F': // most of Chinese and Japanese: there is no case, and all of it shows
		return utf8.AppendRune(dst, r)
	case unicode.In(r, unicode.Cf, unicode.Variation_Selector):
		return dst
	}
	first := r
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		first = min(first, other)
	}
	return utf8.AppendRune(dst, first)
}

// fold is a whole text at once.
func fold(text string) string {
	var f folding
	f.begin([]byte(text))
	var dst []byte
	for f.more() {
		dst = f.next(dst)
	}
	return string(dst)
}

// joined are the scripts whose words stand without spaces between them, or have endings that belong to the next one.
var joined = []*unicode.RangeTable{
	unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Bopomofo, unicode.Hangul,
	unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar,
}

// inWord tells whether a character, next to another such one, is in the same word.
func inWord(r rune) bool {
	return (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)) && !unicode.In(r, joined...)
}

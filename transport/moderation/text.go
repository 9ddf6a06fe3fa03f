package moderation

import (
	"slices"
	"unicode/utf8"
)

// scratch is the memory that looking through a message takes; it is used again.
type scratch struct {
	folding folding
	folded  []byte
	spans   []span
	masked  []byte // the text with its words masked
	plain   []byte // a string of JSON without its quotes
}

// judge looks through a text. When it says mask, s.masked is the text as it may be shown.
func (s *scratch) judge(l *list, text []byte) verdict {
	s.folded = s.folded[:0]
	for s.folding.begin(text); s.folding.more(); {
		s.folded = s.folding.next(s.folded)
	}
	worst, spans := l.find(s.folded, s.spans[:0])
	if s.spans = spans; worst == mask {
		s.mask(text)
	}
	return worst
}

// mask goes through the text again, for what was found lies in the folded one, and puts a star for each character of
// the pieces that have a part in a word.
func (s *scratch) mask(text []byte) {
	slices.SortFunc(s.spans, func(a, b span) int { return a.start - b.start })
	s.folded, s.masked = s.folded[:0], s.masked[:0]
	spans, until := s.spans, 0 // those ahead, and the end of those before
	for s.folding.begin(text); s.folding.more(); {
		from, start := s.folding.at, len(s.folded)
		s.folded = s.folding.next(s.folded)
		for len(spans) > 0 && spans[0].start < len(s.folded) {
			until, spans = max(until, spans[0].end), spans[1:]
		}
		piece := text[from:s.folding.at]
		if start >= until {
			s.masked = append(s.masked, piece...)
			continue
		}
		for range utf8.RuneCount(piece) {
			s.masked = append(s.masked, '*')
		}
	}
}

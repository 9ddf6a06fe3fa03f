package bench

import (
	"bytes"
	"iter"
)

// The server writes id or event first (PROTOCOL.md §3), which makes a prefix enough to tell lines apart.
var (
	newline     = []byte("\n")
	messageHead = []byte(`{"event":"message",`)
	replyHead   = []byte(`{"id":`)
	okHead      = []byte(`,"ok":{`)
	seqField    = []byte(`"seq":`)
	prevField   = []byte(`"prev_seq":`)
)

// lines are the objects of a frame.
func lines(frame []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(frame) > 0 {
			line, rest, _ := bytes.Cut(frame, newline)
			frame = rest
			if len(line) > 0 && !yield(line) {
				return
			}
		}
	}
}

// okOf reads the id of an ok and the seq in it; false for other lines.
func okOf(line []byte) (id, seq uint64, ok bool) {
	id, ok = okID(line)
	if !ok {
		return 0, 0, false
	}
	seq, ok = numberAfter(line, seqField)
	return id, seq, ok
}

// okID reads the id of an ok; false for other lines.
func okID(line []byte) (id uint64, ok bool) {
	if !bytes.HasPrefix(line, replyHead) {
		return 0, false
	}
	id, ok = numberAfter(line, replyHead)
	return id, ok && bytes.HasPrefix(line[len(replyHead)+digits(id):], okHead)
}

// numberAfter finds field in line and reads the digits right after it.
func numberAfter(line, field []byte) (n uint64, ok bool) {
	at := bytes.Index(line, field)
	if at < 0 {
		return 0, false
	}
	for _, b := range line[at+len(field):] {
		if b < '0' || b > '9' {
			break
		}
		n, ok = n*10+uint64(b-'0'), true
	}
	return n, ok
}

func digits(n uint64) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}

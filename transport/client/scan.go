package client

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// Pushes are most of what a client reads, and what they hold is known: scanning them once, without reflection, is
// several times as fast as encoding/json (BenchmarkParsePush). The scanner takes every valid object; of an invalid one it may
// take some for valid, for the server's JSON is made by a program.

// eachMember calls f with every member of a JSON object, the name without its quotes. ok is false for what is no
// object.
func eachMember(object []byte, f func(name, value []byte)) (ok bool) {
	rest := skipSpace(object)
	if len(rest) == 0 || rest[0] != '{' {
		return false
	}
	rest = skipSpace(rest[1:])
	if len(rest) > 0 && rest[0] == '}' {
		return true
	}
	for {
		nameEnd := valueEnd(rest)
		if nameEnd < 2 || rest[0] != '"' {
			return false
		}
		name := rest[1 : nameEnd-1]
		rest = skipSpace(rest[nameEnd:])
		if len(rest) == 0 || rest[0] != ':' {
			return false
		}
		rest = skipSpace(rest[1:])
		end := valueEnd(rest)
		if end <= 0 {
			return false
		}
		f(name, rest[:end])
		rest = skipSpace(rest[end:])
		if len(rest) == 0 || rest[0] != ',' {
			return len(rest) > 0 && rest[0] == '}'
		}
		rest = skipSpace(rest[1:])
	}
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	return b
}

// valueEnd is where the value at the start of b ends, -1 when it does not.
func valueEnd(b []byte) int {
	if len(b) == 0 {
		return -1
	}
	switch b[0] {
	case '"':
		return stringEnd(b)
	case '{', '[':
		return nestedEnd(b)
	}
	for i, c := range b {
		switch c {
		case ',', '}', ']', ' ', '\t', '\r', '\n':
			return i
		}
	}
	return len(b)
}

func stringEnd(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

func nestedEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			end := stringEnd(b[i:])
			if end < 0 {
				return -1
			}
			i += end - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// push is a message as it was pushed.
type push struct {
	Message
	prevSeq int64 // the seqs between it and Seq are a hole
}

// size is about what a push takes of memory.
func (p *push) size() int { return 256 + len(p.Body) }

// parsePush reads a message event. The push shares none of the event's bytes: one that waits, or that a hook keeps, would
// hold the whole frame it came in.
func parsePush(event []byte) (p push, ok bool) {
	valid, prev := true, false
	integer := func(value []byte) int64 {
		n, err := strconv.ParseInt(string(value), 10, 64)
		valid = valid && err == nil
		return n
	}
	text := func(value []byte) string {
		s, ok := unquote(value)
		valid = valid && ok
		return s
	}
	ok = eachMember(event, func(name, value []byte) {
		switch string(name) {
		case "group":
			p.Group = text(value)
		case "seq":
			p.Seq = integer(value)
		case "prev_seq":
			p.prevSeq, prev = integer(value), true
		case "time_ms":
			p.TimeMS = integer(value)
		case "from":
			p.From = text(value)
		case "client_id":
			p.ClientID = text(value)
		case "mentions":
			valid = valid && json.Unmarshal(value, &p.Mentions) == nil
		case "reply_to":
			p.ReplyTo = integer(value)
		case "operator":
			p.Operator = text(value)
		case "recalled_ms":
			p.RecalledMS = integer(value)
		case "recalled_by":
			p.RecalledBy = text(value)
		case "body":
			p.Body = bytes.Clone(value)
		}
	})
	if !prev {
		p.prevSeq = p.Seq - 1
	}
	return p, ok && valid && p.Seq > 0
}

// unquote reads a JSON string.
func unquote(value []byte) (s string, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	inner := value[1 : len(value)-1]
	for _, c := range inner {
		if c == '\\' {
			return s, json.Unmarshal(value, &s) == nil
		}
	}
	return string(inner), true
}

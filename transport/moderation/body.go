package moderation

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// body looks through a message's body. When it says mask, out is the body as it may be stored.
func (s *scratch) body(l *list, body []byte, dec *jsontext.Decoder, in *bytes.Buffer) (worst verdict, out []byte, err error) {
	*in = *bytes.NewBuffer(body)
	dec.Reset(in)
	copied := 0
	err = eachText(dec, func(quoted []byte, end int) (bool, error) {
		text, err := s.unquote(quoted)
		if err != nil {
			return false, err
		}
		do := s.judge(l, text)
		worst = max(worst, do)
		if do == mask {
			out = append(out, body[copied:end-len(quoted)]...)
			if out, err = jsontext.AppendQuote(out, s.masked); err != nil {
				return false, err
			}
			copied = end
		}
		return worst != reject, nil
	})
	if err != nil {
		return clean, nil, fmt.Errorf("read a body: %w", err)
	}
	if worst != mask {
		return worst, nil, nil
	}
	return mask, append(out, body[copied:]...), nil
}

// eachText calls f with the strings of a body that people read, as they are quoted, and where each ends, until f says
// no. The body is valid; custom.data is the app's own and not looked into.
func eachText(dec *jsontext.Decoder, f func(quoted []byte, end int) (bool, error)) error {
	if _, err := dec.ReadToken(); err != nil { // [
		return err
	}
	for dec.PeekKind() == '{' {
		if _, err := dec.ReadToken(); err != nil {
			return err
		}
		for dec.PeekKind() == '"' {
			name, err := dec.ReadToken()
			if err != nil {
				return err
			}
			if !isRead(name) || dec.PeekKind() != '"' {
				if err := dec.SkipValue(); err != nil {
					return err
				}
				continue
			}
			quoted, err := dec.ReadValue()
			if err != nil {
				return err
			}
			if more, err := f(quoted, int(dec.InputOffset())); !more || err != nil {
				return err
			}
		}
		if _, err := dec.ReadToken(); err != nil { // }
			return err
		}
	}
	return nil
}

// isRead tells the fields that people read: text.text, file.name, location.title, custom.desc. No other type has one of
// that name.
func isRead(name jsontext.Token) bool {
	switch name.String() {
	case "text", "name", "title", "desc":
		return true
	}
	return false
}

// unquote is what a string of JSON says, in memory that is good until the next one.
func (s *scratch) unquote(quoted []byte) ([]byte, error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	var err error
	s.plain, err = jsontext.AppendUnquote(s.plain[:0], quoted)
	return s.plain, err
}

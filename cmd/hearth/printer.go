package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"
	"unicode"

	"hearth/transport/client"
)

// printer writes messages to standard output, and what is to be said about them to standard error.
type printer struct {
	p    *Process
	json bool

	mu   sync.Mutex // guards what follows, and is held while writing
	away bool       // the connection is lost
}

// object prints a line: the text, or v as JSON.
func (out *printer) object(v any, text string) {
	out.mu.Lock()
	defer out.mu.Unlock()
	if !out.json {
		fmt.Fprintln(out.p.Stdout, text)
		return
	}
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		fmt.Fprintf(out.p.Stderr, "not printed: %s\n", err)
		return
	}
	fmt.Fprint(out.p.Stdout, line.String())
}

func (out *printer) note(format string, args ...any) {
	out.mu.Lock()
	defer out.mu.Unlock()
	fmt.Fprintf(out.p.Stderr, format+"\n", args...)
}

func (out *printer) message(m client.Message) {
	text := m.Text()
	switch {
	case m.RecalledMS > 0:
		text = "(recalled)"
	case text == "":
		text = string(m.Body)
	}
	at := time.UnixMilli(m.TimeMS).Format(time.DateTime)
	out.object(m, fmt.Sprintf("%d %s %s: %s", m.Seq, at, m.From, printable(text)))
}

// printable keeps strangers' messages from moving the cursor, or worse.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

func (out *printer) hole(_ string, h client.Hole) {
	seqs, reason := fmt.Sprint(h.From), h.Reason
	if h.To > h.From {
		seqs += fmt.Sprintf(" to %d", h.To)
	}
	if reason == "" {
		reason = "lost"
	}
	out.note("There is no message %s: %s.", seqs, reason)
}

// page prints the holes in their places among the messages.
func (out *printer) page(p client.Page) {
	holes := p.Holes
	holesBefore := func(seq int64) {
		for ; len(holes) > 0 && holes[0].From < seq; holes = holes[1:] {
			out.hole(p.Group, holes[0])
		}
	}
	for _, m := range p.Messages {
		holesBefore(m.Seq)
		out.message(m)
	}
	holesBefore(math.MaxInt64)
}

func (out *printer) state(s client.State) {
	out.mu.Lock()
	back := s.Connected && out.away
	out.away = !s.Connected
	out.mu.Unlock()
	switch {
	case back:
		out.note("Connected again.")
	case !s.Connected && s.Delay > 0:
		out.note("The connection is lost (%s), next attempt in %s.", reasonOf(s), s.Delay.Round(time.Millisecond))
	}
}

func reasonOf(s client.State) string {
	if s.Code == 0 {
		return s.Reason
	}
	return fmt.Sprintf("%d %s", s.Code, s.Reason)
}

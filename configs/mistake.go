package configs

import (
	"fmt"
	"strings"
)

// Mistake is one thing wrong with the configuration. It never shows the value of a secret.
type Mistake struct {
	Key     string // redis.addrs[0]; "" when it is about the whole file
	Message string // must be host:port

	// Where it stands. All empty for a key that nobody has set.
	Env    string // HEARTH_REDIS_ADDRS
	File   string
	Line   int    // from 1; 0 = the file as a whole
	Column int    // of Source, in characters, from 1
	Source string // the line, secrets as ***
}

// String is a line, and for a place in the file that place with a caret below.
func (m Mistake) String() string {
	var b strings.Builder
	switch {
	case m.Env != "":
		b.WriteString(m.Env + ": ")
	case m.Line > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", m.File, m.Line, m.Column)
	case m.File != "":
		b.WriteString(m.File + ": ")
	}
	if m.Key != "" {
		b.WriteString(m.Key + ": ")
	}
	b.WriteString(m.Message)
	if m.Line > 0 {
		fmt.Fprintf(&b, "\n%6d | %s\n       | %s^", m.Line, m.Source, strings.Repeat(" ", max(m.Column-1, 0)))
	}
	return b.String()
}

// Mistakes is everything wrong with a configuration, and the error type of Load, LoadServe and CheckServe.
// Programs that meet it exit with status 2.
type Mistakes []Mistake

// Error lists all of them, a line or three each.
func (m Mistakes) Error() string {
	list := make([]string, len(m))
	for i, mistake := range m {
		list[i] = mistake.String()
	}
	return strings.Join(list, "\n")
}

// orNil avoids the error that is not nil and lists nothing.
func (m Mistakes) orNil() error {
	if len(m) == 0 {
		return nil
	}
	return m
}

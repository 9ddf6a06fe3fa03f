package bench

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
)

const (
	membersACall = 500 // PROTOCOL.md §4
	sendsAFrame  = 100 // PROTOCOL.md §3
	frameBytes   = 64 << 10
	maxTextBytes = 12000 // PROTOCOL.md §5
	maxPage      = 200   // PROTOCOL.md §3
	maxInFlight  = 1000
)

// Base is what every bench is told. Zero values take the default in brackets, here and in the configurations that
// embed it.
type Base struct {
	URLs   []string // base http URLs of one or more instances; connections go round them in turn
	Secret []byte   // signs the users' tokens, HS256
	APIKey string   // creates the groups

	Timeout time.Duration  // [10 s] a connection without an answer for so long means the server is down
	PIDs    map[string]int // processes whose CPU time or memory is reported, by name; needs /proc
	Prefix  string         // of group and user ids [bench-<random>-]; it must be new to the server
	JSON    bool           // the report as JSON
}

func (b Base) withDefaults() Base {
	orDuration(&b.Timeout, 10*time.Second)
	if b.Prefix == "" {
		b.Prefix = "bench-" + randomHex() + "-"
	}
	urls := make([]string, len(b.URLs))
	for i, u := range b.URLs {
		urls[i] = strings.TrimRight(u, "/")
	}
	b.URLs = urls
	return b
}

func (b Base) userID(index int) string { return fmt.Sprintf("%su%d", b.Prefix, index) }

func (b Base) groupID(index int) string { return fmt.Sprintf("%sg%d", b.Prefix, index) }

func orInt(v *int, or int) {
	if *v == 0 {
		*v = or
	}
}

func orDuration(v *time.Duration, or time.Duration) {
	if *v == 0 {
		*v = or
	}
}

func randomHex() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}

// mistakes collects what is wrong with a configuration, to tell all of it at once.
type mistakes []error

func (m *mistakes) when(bad bool, format string, args ...any) {
	if bad {
		*m = append(*m, fmt.Errorf(format, args...))
	}
}

// err is nil, or Setup.
func (m mistakes) err() error {
	if len(m) == 0 {
		return nil
	}
	return &Error{Kind: Setup, Err: errors.Join(m...)}
}

// prefixes are ids that leave room for a letter and a number within the 64 bytes of an id.
var prefixForm = regexp.MustCompile(`^[A-Za-z0-9_.@#-]{1,48}$`)

func (b Base) check(m *mistakes) {
	m.when(len(b.URLs) == 0, "no URL")
	for _, u := range b.URLs {
		p, err := url.Parse(u)
		m.when(err != nil || p.Host == "" || (p.Scheme != "http" && p.Scheme != "https"), "URL %q: want http://host:port", u)
	}
	m.when(len(b.Secret) == 0, "no token secret")
	m.when(b.APIKey == "", "no API key")
	m.when(b.Timeout < 0, "negative timeout")
	m.when(!prefixForm.MatchString(b.Prefix), "prefix: want 1 to 48 of A-Z a-z 0-9 _ . @ # -")
}

// checkProcesses refuses a target for what nobody measures.
func (b Base) checkProcesses(m *mistakes, target float64) {
	m.when(target > 0 && len(b.PIDs) == 0, "a target for CPU or memory, but no process to read it from (PIDs)")
}

func checkText(m *mistakes, bytes int) {
	m.when(bytes < 1 || bytes > maxTextBytes, "bytes: %d, want 1 to %d", bytes, maxTextBytes)
}

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
	templateRoom = 256 // a send without its text, at most
	maxInFlight  = 1000
)

// SendConfig says what Send does. Zero values take the default in brackets.
type SendConfig struct {
	URLs   []string // base http URLs of one or more instances; connections go round them in turn
	Secret []byte   // signs the users' tokens, HS256
	APIKey string   // creates the groups

	Connections int // [200] one user each, in one group each
	Groups      int // [100] at most Connections
	InFlight    int // [1] unanswered sends of a connection
	Batch       int // [1] sends in one frame at most; above 1, what one received frame set free leaves in one frame
	Bytes       int // [128] of text in a message

	Duration time.Duration // [10 s, without Messages] measured, after Warmup
	Messages int64         // measured messages; the run ends with whichever of the two comes first
	Warmup   time.Duration // [2 s] load that is checked but not measured; negative: none
	Timeout  time.Duration // [10 s] a connection without an answer for so long means the server is down
	Settle   time.Duration // [5 s] after the load, for the last answers and pushes

	PIDs   map[string]int // processes whose CPU time is reported, by name; needs /proc
	Prefix string         // of group and user ids [bench-<random>-]; it must be new to the server
	JSON   bool           // the report as JSON

	// MySQLDSN (go-sql-driver form) makes Send wait until every acked message is a row of group_msg.
	MySQLDSN    string
	PersistWait time.Duration // [60 s] after the load; rows still missing then are lost: Wrong

	// Targets; 0: none. Not reaching one is Missed.
	MinRate    float64       // acked messages per second
	MaxCPU     float64       // µs per acked message, all PIDs together
	MaxPersist time.Duration // from the end of the load to the last row
}

func (c SendConfig) withDefaults() SendConfig {
	orInt(&c.Connections, 200)
	orInt(&c.Groups, 100)
	orInt(&c.InFlight, 1)
	orInt(&c.Batch, 1)
	orInt(&c.Bytes, 128)
	if c.Duration == 0 && c.Messages == 0 {
		c.Duration = 10 * time.Second
	}
	orDuration(&c.Warmup, 2*time.Second)
	orDuration(&c.Timeout, 10*time.Second)
	orDuration(&c.Settle, 5*time.Second)
	orDuration(&c.PersistWait, time.Minute)
	if c.Prefix == "" {
		c.Prefix = "bench-" + randomHex() + "-"
	}
	urls := make([]string, len(c.URLs))
	for i, u := range c.URLs {
		urls[i] = strings.TrimRight(u, "/")
	}
	c.URLs = urls
	return c
}

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

// prefixes are ids that leave room for a letter and a number within the 64 bytes of an id.
var prefixForm = regexp.MustCompile(`^[A-Za-z0-9_.@#-]{1,48}$`)

func (c SendConfig) validate() error {
	var all []error
	bad := func(when bool, format string, args ...any) {
		if when {
			all = append(all, fmt.Errorf(format, args...))
		}
	}
	bad(len(c.URLs) == 0, "no URL")
	for _, u := range c.URLs {
		p, err := url.Parse(u)
		bad(err != nil || p.Host == "" || (p.Scheme != "http" && p.Scheme != "https"), "URL %q: want http://host:port", u)
	}
	bad(len(c.Secret) == 0, "no token secret")
	bad(c.APIKey == "", "no API key")
	bad(c.Connections < 1, "connections: %d", c.Connections)
	bad(c.Groups < 1 || c.Groups > c.Connections, "groups: %d, want 1 to the number of connections (%d)", c.Groups, c.Connections)
	bad(c.InFlight < 1 || c.InFlight > maxInFlight, "in flight: %d, want 1 to %d", c.InFlight, maxInFlight)
	bad(c.Batch < 1 || c.Batch > sendsAFrame, "batch: %d, want 1 to %d", c.Batch, sendsAFrame)
	bad((c.Bytes+templateRoom)*c.Batch > frameBytes, "batch: %d messages of %d bytes do not fit a frame of %d", c.Batch, c.Bytes, frameBytes)
	bad(c.Bytes < 1 || c.Bytes > 12000, "bytes: %d, want 1 to 12000", c.Bytes)
	bad(c.Duration < 0 || c.Messages < 0, "negative duration or number of messages")
	bad(c.Timeout < 0 || c.Settle < 0 || c.PersistWait < 0, "negative timeout")
	bad(!prefixForm.MatchString(c.Prefix), "prefix: want 1 to 48 of A-Z a-z 0-9 _ . @ # -")
	return errors.Join(all...)
}

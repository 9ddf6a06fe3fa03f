package bench

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"sync"
)

// book is what a group holds, and the pages that readers were given of it. A page is read in full once; readers who
// ask for the same get the same bytes, and comparing those costs next to nothing.
type book struct {
	group, writer, text string
	violations          *violations

	mu       sync.Mutex // guards what follows
	messages []entry    // by seq, once the first page is read
	sorted   bool
	pages    map[uint64]*page // by after_seq
}

// entry is a message as it was acked.
type entry struct {
	seq      uint64
	clientID string
}

// page is an answer that was read in full. It does not change.
type page struct {
	bytes    []byte // from "messages" to the end of the line
	messages int
	last     uint64 // where the next page starts: the seq of the last message
	more     bool
}

func newBook(group, writer, text string, v *violations) *book {
	return &book{group: group, writer: writer, text: text, violations: v, pages: make(map[uint64]*page)}
}

// add notes a message.
func (b *book) add(seq uint64, clientID string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages = append(b.messages, entry{seq, clientID})
}

var messagesField = []byte(`"messages":[`)

// read takes the answer to a request for what is behind after. What is wrong with it is noted; the error is for answers
// that are no pages.
func (b *book) read(user string, after uint64, line []byte) (*page, error) {
	at := bytes.Index(line, messagesField)
	if at < 0 {
		return nil, errorf(Wrong, "user %s: a page without messages: %.160q", user, line)
	}
	if p := b.known(after); p != nil && bytes.Equal(p.bytes, line[at:]) {
		return p, nil
	}
	read, err := parsePage(line)
	if err != nil {
		return nil, errorf(Wrong, "user %s: page behind seq %d: %w", user, after, err)
	}
	p := &page{bytes: bytes.Clone(line[at:]), messages: len(read.Messages), more: read.More, last: after}
	if n := len(read.Messages); n > 0 {
		p.last = read.Messages[n-1].Seq
	}
	if broken := b.check(after, read); broken != "" {
		b.violations.add("user %s: page behind seq %d: %s", user, after, broken)
		if p.last <= after {
			p.more = false // or it would be read for ever
		}
		return p, nil
	}
	b.keep(after, p)
	return p, nil
}

func (b *book) known(after uint64) *page {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pages[after]
}

func (b *book) keep(after uint64, p *page) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pages[after] = p
}

// behind are the messages that a page has to start with.
func (b *book) behind(after uint64) []entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.sorted {
		slices.SortFunc(b.messages, func(x, y entry) int { return cmp.Compare(x.seq, y.seq) })
		b.sorted = true
	}
	at, _ := slices.BinarySearchFunc(b.messages, after+1, func(e entry, seq uint64) int { return cmp.Compare(e.seq, seq) })
	return b.messages[at:]
}

// readPage is a page as it comes.
type readPage struct {
	Group    string
	Messages []readMessage
	Holes    []readHole
	More     bool
}

type readMessage struct {
	Group    string
	Seq      uint64
	From     string
	ClientID string `json:"client_id"`
	Body     []struct{ Type, Text string }
}

type readHole struct{ From, To uint64 }

// parsePage reads an answer to pull and subscribe, or to a sync of one group.
func parsePage(line []byte) (p readPage, err error) {
	var reply struct {
		OK struct {
			readPage
			Results []readPage
		}
	}
	if err := json.Unmarshal(line, &reply); err != nil {
		return p, err
	}
	if len(reply.OK.Results) == 1 {
		return reply.OK.Results[0], nil
	}
	return reply.OK.readPage, nil
}

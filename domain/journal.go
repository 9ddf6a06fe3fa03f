package domain

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
)

// Journal remembers what an instance has acknowledged or shown until MySQL has it, so that what Redis loses has a
// second home. When a newer generation is heard of, the older ones are closed: what they still have to say is not
// believed any more, and what was said before is written to MySQL before the new one accepts anything.
type Journal struct {
	limit      int64 // bytes; beyond it the oldest of a group give way
	bytes      atomic.Int64
	markBytes  atomic.Int64 // of bytes
	recalls    atomic.Int64 // bytes of recalls, of bytes
	dropped    atomic.Int64
	partitions []journalPartition
}

type journalPartition struct {
	mu     sync.Mutex // guards what follows; never held during I/O
	open   int64      // generations below are closed
	groups map[string]*journalGroup
	marks  map[GroupUser]ReadMark

	recalls map[recallKey]Recall
}

type recallKey struct {
	group string
	seq   int64
}

// journalGroup holds a group's messages by seq, and so by generation.
type journalGroup struct {
	entries []journalEntry
	swept   int64 // first seq at the last sweep; 0: there was none
}

// journalEntry keeps a message as its bytes came: header and body of a send, or the tail of what was shown.
type journalEntry struct {
	gen, seq, timeMS   int64
	header, body, tail []byte
	hash               string // of the content, where the body was replaced; "" for most
}

const journalEntryBytes = 128

// maxShift is how many entries of a group may lie behind one that comes. More do when somebody pages far back while MySQL is
// away: the instance that acknowledged those messages has them, and moving all others for each would hold up sends.
const maxShift = 10_000

func (e *journalEntry) size() int64 {
	return int64(journalEntryBytes + len(e.header) + len(e.body) + len(e.tail) + len(e.hash))
}

// Marks have a part of the limit: one that is lost is a message that somebody reads again, no message. So have recalls, of
// which anybody can make many by paging through tombstones.
const (
	journalMarkBytes   = 192
	journalMarkPart    = 4
	journalRecallBytes = 192
	journalRecallPart  = 4
)

// ReadMark is a read mark set in a generation.
type ReadMark struct{ Gen, Seq int64 }

// NewJournal makes a journal of at most limit bytes.
func NewJournal(n Partitions, limit int64) *Journal {
	j := &Journal{limit: limit, partitions: make([]journalPartition, n)}
	for i := range j.partitions {
		p := &j.partitions[i]
		p.groups, p.marks = make(map[string]*journalGroup), make(map[GroupUser]ReadMark)
		p.recalls = make(map[recallKey]Recall)
	}
	return j
}

func (j *Journal) of(group string) *journalPartition {
	return &j.partitions[Partitions(len(j.partitions)).Of(group)]
}

// KeepSend keeps an accepted send, whose bytes it takes over. It reports false when the generation is closed: the answer
// must not be believed.
func (j *Journal) KeepSend(a Accepted, header, body []byte) bool {
	e := journalEntry{gen: a.Gen, seq: a.Seq, timeMS: a.TimeMS, header: header, body: body}
	return j.keep(a.Group, a.PersistedSeq, e)
}

// KeepReplaced is KeepSend of a send whose body a hook has replaced: its content hash does not follow from it.
func (j *Journal) KeepReplaced(a Accepted, header, body []byte, hash string) bool {
	e := journalEntry{gen: a.Gen, seq: a.Seq, timeMS: a.TimeMS, header: header, body: body, hash: hash}
	return j.keep(a.Group, a.PersistedSeq, e)
}

// KeepPush keeps a message that is about to be handed to connections; false as with KeepSend.
func (j *Journal) KeepPush(p Push) bool {
	return j.keep(p.Group, 0, journalEntry{gen: p.Gen, seq: p.Seq, tail: p.Event, hash: p.Hash})
}

// KeepRecord keeps a message that Redis had for a page, if it lies above the watermark; false as with KeepSend.
func (j *Journal) KeepRecord(gen, persisted int64, r Record) bool {
	return j.keep(r.Group, persisted, journalEntry{gen: gen, seq: r.Seq, timeMS: r.TimeMS, tail: r.Tail, hash: r.Hash})
}

func (j *Journal) keep(group string, persisted int64, e journalEntry) bool {
	p := j.of(group)
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.gen < p.open {
		return false
	}
	if e.seq <= persisted {
		return true
	}
	g := p.groups[group]
	if g == nil {
		g = &journalGroup{}
		p.groups[group] = g
	}
	at := sort.Search(len(g.entries), func(i int) bool { return g.entries[i].seq > e.seq })
	if at > 0 && g.entries[at-1].seq == e.seq {
		return true
	}
	if len(g.entries)-at > maxShift {
		j.dropped.Add(1)
		return true
	}
	for j.bytes.Load()+e.size() > j.limit {
		if at == 0 {
			j.dropped.Add(1)
			return true
		}
		j.forget(g, 0, 1)
		j.dropped.Add(1)
		at--
	}
	j.bytes.Add(e.size())
	g.entries = slices.Insert(g.entries, at, e)
	return true
}

// Over tells that a generation of the group's partition is closed.
func (j *Journal) Over(group string, gen int64) bool {
	p := j.of(group)
	p.mu.Lock()
	defer p.mu.Unlock()
	return gen < p.open
}

// KeepMark keeps a read mark that was acknowledged, if there is room; false as with KeepSend.
func (j *Journal) KeepMark(who GroupUser, mark ReadMark) bool {
	p := j.of(who.Group)
	p.mu.Lock()
	defer p.mu.Unlock()
	if mark.Gen < p.open {
		return false
	}
	before, known := p.marks[who]
	if mark.Seq <= before.Seq {
		return true
	}
	if !known && !j.addMark() {
		j.dropped.Add(1)
		return true
	}
	p.marks[who] = mark
	return true
}

// addMark reports whether there is room for one mark more.
func (j *Journal) addMark() bool {
	if j.markBytes.Add(journalMarkBytes) > j.limit/journalMarkPart {
		j.markBytes.Add(-journalMarkBytes)
		return false
	}
	j.bytes.Add(journalMarkBytes)
	return true
}

// KeepRecall keeps a recall that was acknowledged or is about to be shown, if there is room; false as with KeepSend. Its
// message has to be kept before it.
func (j *Journal) KeepRecall(r Recall) bool {
	p := j.of(r.Group)
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Gen < p.open {
		return false
	}
	key := recallKey{r.Group, r.Seq}
	if _, known := p.recalls[key]; known {
		return true
	}
	if j.recalls.Add(journalRecallBytes) > j.limit/journalRecallPart {
		j.recalls.Add(-journalRecallBytes)
		j.dropped.Add(1)
		return true
	}
	j.bytes.Add(journalRecallBytes)
	p.recalls[key] = r
	return true
}

// Committed forgets what the group's watermark of gen has passed.
func (j *Journal) Committed(group string, gen, seq int64) {
	p := j.of(group)
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.groups[group]
	if g == nil {
		return
	}
	first := sort.Search(len(g.entries), func(i int) bool { return g.entries[i].gen >= gen })
	end := first + sort.Search(len(g.entries)-first, func(i int) bool {
		e := &g.entries[first+i]
		return e.gen > gen || e.seq > seq
	})
	j.forget(g, first, end)
}

// forget takes entries out; the partition's mu is held. Those at the start, as nearly always, are not paid for by moving
// all others: while MySQL is away they are many.
func (j *Journal) forget(g *journalGroup, from, to int) {
	for i := from; i < to; i++ {
		j.bytes.Add(-g.entries[i].size())
	}
	if from > 0 || to == len(g.entries) {
		g.entries = slices.Delete(g.entries, from, to)
		return
	}
	clear(g.entries[:to])
	g.entries = g.entries[to:]
}

// Unwritten is what a partition's journal holds.
type Unwritten struct {
	Messages []Message // by group and seq; without GroupType
	Marks    map[GroupUser]ReadMark
	Recalls  []Recall // those of Messages are tombstones
}

// Close closes the generations of a partition below gen and returns what the journal holds of them. It can be called
// again: Written forgets. The error is about messages that cannot be read; all others are returned.
func (j *Journal) Close(partition int, gen int64) (Unwritten, error) {
	p := &j.partitions[partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = max(p.open, gen)
	return p.below(gen)
}

// All is what the journal holds of a partition; the error is that of Close.
func (j *Journal) All(partition int) (Unwritten, error) {
	p := &j.partitions[partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.below(1 << 62)
}

func (p *journalPartition) below(gen int64) (u Unwritten, err error) {
	var unread []error
	for group, g := range p.groups {
		for i := range g.entries {
			e := &g.entries[i]
			if e.gen >= gen {
				break
			}
			m, err := e.message(group)
			if err != nil {
				unread = append(unread, fmt.Errorf("message %s/%d: %w", group, e.seq, err))
				continue
			}
			u.Messages = append(u.Messages, m)
		}
	}
	slices.SortFunc(u.Messages, func(a, b Message) int { return CompareMessages(&a, &b) })
	u.Marks = make(map[GroupUser]ReadMark)
	for who, mark := range p.marks {
		if mark.Gen < gen {
			u.Marks[who] = mark
		}
	}
	for _, r := range p.recalls {
		if r.Gen < gen {
			u.Recalls = append(u.Recalls, r)
		}
	}
	ApplyRecalls(u.Messages, u.Recalls)
	return u, errors.Join(unread...)
}

// message takes an entry apart, as a row wants it.
func (e *journalEntry) message(group string) (m Message, err error) {
	m = Message{Group: group, Seq: e.seq, TimeMS: e.timeMS, Gen: e.gen, Body: e.body}
	if e.tail == nil {
		m.Header, err = ParseHeader(e.header)
	} else {
		err = m.readTail(e.tail)
	}
	m.Hash = e.hash
	if m.Hash == "" {
		m.Hash = ContentHash(m.Body, m.Mentions, m.ReplyTo)
	}
	return m, err
}

// Written forgets what has been brought to MySQL.
func (j *Journal) Written(partition int, u Unwritten) {
	p := &j.partitions[partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range u.Messages {
		m := &u.Messages[i]
		g := p.groups[m.Group]
		if g == nil {
			continue
		}
		at := sort.Search(len(g.entries), func(i int) bool { return g.entries[i].seq >= m.Seq })
		if at < len(g.entries) && g.entries[at].seq == m.Seq && g.entries[at].gen == m.Gen {
			j.forget(g, at, at+1)
		}
	}
	for who, mark := range u.Marks {
		if p.marks[who] == mark {
			delete(p.marks, who)
			j.bytes.Add(-journalMarkBytes)
			j.markBytes.Add(-journalMarkBytes)
		}
	}
	for _, r := range u.Recalls {
		if key := (recallKey{r.Group, r.Seq}); p.recalls[key] == r {
			delete(p.recalls, key)
			j.bytes.Add(-journalRecallBytes)
			j.recalls.Add(-journalRecallBytes)
		}
	}
}

// Lingering tells what of a partition's generation has lain here since the last call: its watermark may have been
// missed. Groups that hold nothing are let go.
func (j *Journal) Lingering(partition int, gen int64) (groups []string, marks map[GroupUser]ReadMark) {
	p := &j.partitions[partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	for group, g := range p.groups {
		if len(g.entries) == 0 {
			if g.swept == 0 {
				delete(p.groups, group)
			}
			g.swept = 0
			continue
		}
		first := g.entries[0].seq
		if first == g.swept && g.entries[len(g.entries)-1].gen == gen {
			groups = append(groups, group)
		}
		g.swept = first
	}
	marks = make(map[GroupUser]ReadMark)
	for who, mark := range p.marks {
		if mark.Gen == gen {
			marks[who] = mark
		}
	}
	return groups, marks
}

// LingeringRecalls are those of a partition's generation.
func (j *Journal) LingeringRecalls(partition int, gen int64) (recalls []Recall) {
	p := &j.partitions[partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.recalls {
		if r.Gen == gen {
			recalls = append(recalls, r)
		}
	}
	return recalls
}

// Bytes is about how much memory the journal holds.
func (j *Journal) Bytes() int64 { return j.bytes.Load() }

// Dropped counts the messages, read marks and recalls that were forgotten for lack of room.
func (j *Journal) Dropped() int64 { return j.dropped.Load() }

package domain

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
)

// Check names a rule that an audit goes by.
type Check string

const (
	CheckSeqs       Check = "seqs"       // every seq is a row, a hole or on its way; Redis goes on above them all
	CheckWatermark  Check = "watermark"  // what is said to be in MySQL is
	CheckRecent     Check = "recent"     // the newest messages in Redis are those of MySQL
	CheckOnce       Check = "once"       // a send that was repeated is stored once
	CheckReadMarks  Check = "read_marks" // Redis and MySQL agree on who has read what
	CheckMembers    Check = "members"    // and on who is in
	CheckHeat       Check = "heat"       // heat is the number of people who spoke
	CheckGeneration Check = "generation" // Redis and MySQL are in one history
)

// Finding is something that an audit found wrong. It holds no message's text.
type Finding struct {
	Group     string `json:"group,omitempty"`
	Partition *int   `json:"partition,omitempty"` // where it concerns no single group
	Check     Check  `json:"check"`
	What      string `json:"what"`
	key       string // what is the same when the same is found again, although numbers have moved on
}

// Subject is what the finding is about.
func (f Finding) Subject() string {
	if f.Partition != nil {
		return fmt.Sprint("partition ", *f.Partition)
	}
	return f.Group
}

func (f Finding) same(o Finding) bool {
	return f.Subject() == o.Subject() && f.Check == o.Check && f.key == o.key
}

// Digest stands for a message's bytes in comparisons.
type Digest [16]byte

// TailDigest is that of Record.Tail.
func TailDigest(tail []byte) Digest {
	sum := sha256.Sum256(tail)
	return Digest(sum[:])
}

// AuditedCache is what Redis says of a group. But for Later it is read before MySQL is asked, and in the order of the
// fields, so that what moves meanwhile looks right: a message that is in no log any more has its row by then.
type AuditedCache struct {
	Persisted int64 // read before Seq
	Seeded    bool  // Persisted, Seq and Holes are known in this generation
	Seq       int64
	Holes     Holes
	Floor     *Floor           // what is cached for a group that is not seeded; nil: nothing
	Pending   map[int64]bool   // seqs in the log
	Recent    map[int64]Digest // messages in recent, by seq
	Version   int64
	Members   map[string]Membership // by user, without JoinedMS; nil: the group is not cached at one version
	Marks     map[string]int64      // read marks by user
	Dirty     map[string]int64      // those that are to be written to MySQL
	Later     int64                 // Seq read again behind MySQL; 0: not seeded
}

// AuditedRows is what MySQL says of a group at one moment, beside its messages.
type AuditedRows struct {
	Group
	Members []Membership
	Marks   map[string]int64
	Holes   []Hole // as stored, by From
	Seed    int64  // the highest start of any generation
}

// GroupAudit compares what Redis and MySQL say of one group. Row is called with all its messages by seq, then End.
type GroupAudit struct {
	Messages int // rows so far

	rows  AuditedRows
	cache *AuditedCache // nil: Redis cannot be compared
	holes Holes         // of rows, made disjoint

	last     int64 // seq of the last row
	lastMS   int64
	lastGen  int64
	missing  []Hole         // neither row nor hole
	unstored map[int64]bool // pending and without a row so far
	sends    sendsOnce
	seen     map[int64]bool // seqs in recent that have a row

	doubled, fallenTime, fallenGen, repeated, otherHash, otherRecent tally
	findings                                                         []Finding
}

// NewGroupAudit begins an audit; cache is nil where Redis is in another history and cannot be compared.
func NewGroupAudit(rows AuditedRows, cache *AuditedCache) *GroupAudit {
	a := &GroupAudit{rows: rows, cache: cache, seen: make(map[int64]bool), sends: sendsOnce{at: make(map[string]int64)}}
	if cache != nil {
		a.unstored = maps.Clone(cache.Pending)
	}
	a.takeHoles()
	return a
}

func (a *GroupAudit) found(check Check, key, format string, args ...any) {
	f := Finding{Group: a.rows.ID, Check: check, What: fmt.Sprintf(format, args...), key: key}
	a.findings = append(a.findings, f)
}

// takeHoles makes holes that can be searched of those that are stored.
func (a *GroupAudit) takeHoles() {
	for _, h := range a.rows.Holes {
		n := len(a.holes)
		switch {
		case h.From > h.To || h.From < 1:
			a.found(CheckSeqs, fmt.Sprint("hole ", h.From), "the hole %d to %d is none", h.From, h.To)
			continue
		case n > 0 && h.From <= a.holes[n-1].To:
			a.found(CheckSeqs, fmt.Sprint("overlap ", h.From), "the holes %s and %s overlap", rangeText(a.holes[n-1]), rangeText(h))
			a.holes[n-1].To = max(a.holes[n-1].To, h.To)
		case n > 0 && h.From == a.holes[n-1].To+1 && h.Reason == a.holes[n-1].Reason:
			a.holes[n-1].To = h.To
		default:
			a.holes = append(a.holes, h)
		}
	}
}

// Row takes the next message; it is not kept.
func (a *GroupAudit) Row(m *Message) {
	a.Messages++
	a.skipTo(m.Seq)
	if _, ok := a.holes.At(m.Seq); ok {
		a.doubled.add(m.Seq)
	}
	if m.TimeMS < a.lastMS {
		a.fallenTime.add(m.Seq)
	}
	if m.Gen < a.lastGen {
		a.fallenGen.add(m.Seq)
	}
	a.last, a.lastMS, a.lastGen = m.Seq, max(a.lastMS, m.TimeMS), max(a.lastGen, m.Gen)
	if m.ClientID != "" && !a.sends.take(m) {
		a.repeated.add(m.Seq)
	}
	delete(a.unstored, m.Seq)
	a.compareContent(m)
}

// compareContent goes by the row's hash, and where the row is right by what recent shows. A recalled message has another
// body than it was sent with, and so has one that a hook has changed.
func (a *GroupAudit) compareContent(m *Message) {
	if m.RecalledMS == 0 && !isReplaced(m.Hash) && ContentHash(m.Body, m.Mentions, m.ReplyTo) != m.Hash {
		a.otherHash.add(m.Seq)
		a.seen[m.Seq] = true
		return
	}
	if a.cache == nil {
		return
	}
	shown, ok := a.cache.Recent[m.Seq]
	if !ok {
		return
	}
	a.seen[m.Seq] = true
	if m.RecalledMS == 0 && TailDigest(m.Record().Tail) != shown {
		a.otherRecent.add(m.Seq)
	}
}

// skipTo notes which seqs between the last row and this one no hole accounts for.
func (a *GroupAudit) skipTo(seq int64) {
	for next := a.last + 1; next < seq; {
		next = skipHoles(a.holes, next)
		if next >= seq {
			return
		}
		end := seq - 1
		if later := a.holes.Clip(next, end); len(later) > 0 {
			end = later[0].From - 1
		}
		a.missing = append(a.missing, Hole{From: next, To: end})
		next = end + 1
	}
}

// top is how far MySQL accounts for seqs.
func (a *GroupAudit) top() int64 {
	top := max(a.last, a.rows.Seed)
	if n := len(a.holes); n > 0 {
		top = max(top, a.holes[n-1].To)
	}
	return top
}

// End is what was found.
func (a *GroupAudit) End() []Finding {
	head := a.top()
	if a.cache != nil && a.cache.Seeded {
		head = a.cache.Seq
	}
	a.skipTo(max(head, a.rows.Seed) + 1)
	a.endSeqs(head)
	a.tell(CheckOnce, &a.repeated, "of a send that is stored already")
	a.tell(CheckRecent, &a.otherHash, "whose content is not that of the hash")
	a.endMembers()
	if a.cache != nil {
		a.endRedisSeqs()
		a.endWatermark()
		a.endRecent()
		a.endReadMarks()
	}
	return a.findings
}

func (a *GroupAudit) tell(check Check, t *tally, what string) {
	if t.n > 0 {
		a.found(check, what, "%d rows %s: %s", t.n, what, t)
	}
}

func (a *GroupAudit) endSeqs(head int64) {
	var missing, shown tally
	for _, m := range a.missing {
		for _, h := range a.withoutPending(m, max(head, a.rows.Seed)) {
			missing.addRange(h.From, h.To)
			if a.cache == nil {
				continue
			}
			for seq := range a.cache.Recent {
				if h.From <= seq && seq <= h.To {
					shown.add(seq)
					a.seen[seq] = true
				}
			}
		}
	}
	if missing.n > 0 {
		a.found(CheckSeqs, "missing", "%d seqs have neither row nor hole: %s (recent has %d of them)", missing.n, &missing, shown.n)
	}
	a.tell(CheckSeqs, &a.doubled, "that are holes, too")
	a.tell(CheckSeqs, &a.fallenTime, "that are older than the one before")
	a.tell(CheckSeqs, &a.fallenGen, "of a lower generation than the one before")
}

// withoutPending cuts what is in the log out of a range, and what is above the head: it came later.
func (a *GroupAudit) withoutPending(h Hole, head int64) (left []Hole) {
	h.To = min(h.To, head)
	for _, seq := range slices.Sorted(maps.Keys(a.unstored)) {
		if seq < h.From || seq > h.To {
			continue
		}
		if h.From < seq {
			left = append(left, Hole{From: h.From, To: seq - 1})
		}
		h.From = seq + 1
	}
	if h.From <= h.To {
		left = append(left, h)
	}
	return left
}

func (a *GroupAudit) endRedisSeqs() {
	c := a.cache
	switch top := a.top(); {
	case c.Seeded && c.Later > 0 && c.Later < top:
		a.found(CheckSeqs, "behind", "Redis is at %d, MySQL at %d", c.Later, top)
	case c.Seeded && c.Seq > 0 && c.Later == 0:
		a.found(CheckSeqs, "gone", "Redis was at %d and does not know it any more", c.Seq)
	case !c.Seeded && c.Floor != nil && (c.Floor.MaxSeq != top || c.Floor.LastMS != a.lastMS):
		a.found(CheckSeqs, fmt.Sprint("floor ", top), "Redis says up to %d (time %d), MySQL %d (time %d)", c.Floor.MaxSeq, c.Floor.LastMS, top, a.lastMS)
	}
	known := c.Holes
	if !c.Seeded && c.Floor != nil {
		known = c.Floor.Holes
	}
	if (c.Seeded || c.Floor != nil) && !slices.Equal(known, a.holes) {
		a.found(CheckSeqs, fmt.Sprint("holes ", a.holes), "Redis has the holes %s, MySQL %s", rangesText(known), rangesText(a.holes))
	}
}

func (a *GroupAudit) endWatermark() {
	c := a.cache
	if !c.Seeded {
		return
	}
	if c.Persisted > max(c.Seq, a.top()) {
		a.found(CheckWatermark, "above", "it is at %d, the last message is %d", c.Persisted, c.Seq)
	}
	if c.Persisted < a.rows.Seed {
		a.found(CheckWatermark, "below", "it is at %d, the generation began at %d", c.Persisted, a.rows.Seed)
	}
	var waiting tally
	for _, seq := range slices.Sorted(maps.Keys(c.Pending)) {
		if seq <= c.Persisted {
			waiting.add(seq)
		}
	}
	if waiting.n > 0 {
		a.found(CheckWatermark, "waiting", "it is at %d, but %d messages up to there are still in the log: %s", c.Persisted, waiting.n, &waiting)
	}
}

func (a *GroupAudit) endRecent() {
	a.tell(CheckRecent, &a.otherRecent, "that recent shows otherwise")
	var holes, absent tally
	for _, seq := range slices.Sorted(maps.Keys(a.cache.Recent)) {
		if _, ok := a.holes.At(seq); ok && !a.seen[seq] {
			holes.add(seq)
		}
	}
	if holes.n > 0 {
		a.found(CheckRecent, fmt.Sprint("holes ", a.holes), "it has %d messages that are holes: %s", holes.n, &holes)
	}
	for _, seq := range slices.Sorted(maps.Keys(a.unstored)) {
		_, there := a.cache.Recent[seq]
		_, hole := a.holes.At(seq)
		if !there && !hole && a.cache.Persisted < seq && seq <= a.cache.Seq {
			absent.add(seq)
		}
	}
	if absent.n > 0 {
		a.found(CheckRecent, "absent", "it lacks %d messages that MySQL has not got: %s", absent.n, &absent)
	}
}

func (a *GroupAudit) endReadMarks() {
	head := max(a.top(), a.cache.Later)
	for user, mark := range ordered(a.rows.Marks) {
		if mark > head {
			a.found(CheckReadMarks, "stored "+user, "MySQL has %s at %d, the last message is %d", user, mark, head)
		}
	}
	for user, mark := range ordered(a.cache.Marks) {
		switch stored := a.rows.Marks[user]; {
		case mark > head:
			a.found(CheckReadMarks, "cached "+user, "Redis has %s at %d, the last message is %d", user, mark, head)
		case mark > stored && a.cache.Dirty[user] < mark && mark <= a.cache.Persisted && !a.refused(mark):
			a.found(CheckReadMarks, "unwritten "+user, "Redis has %s at %d, MySQL at %d, and nothing says that it is to be written", user, mark, stored)
		case mark < stored && stored <= head:
			// Marks are read before MySQL: one that moved meanwhile looks like this, but not with the same numbers again.
			a.found(CheckReadMarks, fmt.Sprint("behind ", user, mark, stored), "Redis has %s at %d, MySQL at %d", user, mark, stored)
		}
	}
}

// refused tells whether a seq was given to a message that MySQL may have refused: the mark that it moved was not stored with
// it.
func (a *GroupAudit) refused(seq int64) bool {
	h, ok := a.holes.At(seq)
	return ok && h.Reason == HoleLost
}

func (a *GroupAudit) endMembers() {
	count := 0
	stored := make(map[string]Membership, len(a.rows.Members))
	for _, m := range a.rows.Members {
		if m.Role.IsMember() {
			count++
		}
		m.JoinedMS = 0
		stored[m.User] = m
	}
	if count != a.rows.MemberCount {
		a.found(CheckMembers, "count", "member_count is %d, there are %d", a.rows.MemberCount, count)
	}
	if a.cache == nil || a.cache.Members == nil {
		return
	}
	if a.cache.Version != a.rows.Version {
		// Redis is told behind MySQL: what is the same at the next look was not told.
		a.found(CheckMembers, fmt.Sprint("version ", a.cache.Version, a.rows.Version), "Redis has version %d, MySQL %d", a.cache.Version, a.rows.Version)
		return
	}
	var other []string
	for user := range ordered(a.cache.Members) {
		if stored[user] != a.cache.Members[user] {
			other = append(other, user)
		}
	}
	for user := range ordered(stored) {
		if _, ok := a.cache.Members[user]; !ok {
			other = append(other, user)
		}
	}
	if len(other) > 0 {
		a.found(CheckMembers, "others", "at version %d Redis and MySQL differ in %d users, such as %s", a.rows.Version, len(other), other[0])
	}
}

// AuditGeneration compares what Redis and MySQL say of a partition's history.
func AuditGeneration(partition int, row Generation, o Observed) (findings []Finding) {
	found := func(key, format string, args ...any) {
		findings = append(findings, Finding{Partition: &partition, Check: CheckGeneration, What: fmt.Sprintf(format, args...), key: key})
	}
	switch {
	case row == Generation{} && o.Gen == 0: // nobody has started yet
	case !row.Agrees(o):
		found("agree", "Redis is in generation %d of server %.8s and is server %.8s, MySQL in %d of %.8s", o.Gen, o.Server, o.Identity, row.Gen, row.Server)
	case row.Settled != row.Gen:
		found("settled", "generation %d is not settled, %d is", row.Gen, row.Settled)
	}
	return findings
}

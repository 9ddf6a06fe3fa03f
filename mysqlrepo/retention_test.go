package mysqlrepo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hearth/domain"
)

const noBound = int64(1) << 53

// expireIn deletes messages of a group, in its newest generation.
func expireIn(t testing.TB, db *DB, group string, upTo, beforeMS int64, limit int) int {
	t.Helper()
	g, err := db.generationOf(group)
	if err != nil {
		t.Fatal(err)
	}
	n, err := db.Expire(context.Background(), domain.Expiry{Group: group, Gen: g.Gen, UpTo: upTo}, beforeMS, limit)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (d *DB) generationOf(group string) (g domain.Generation, err error) {
	err = d.view(context.Background(), func(tx *sql.Tx) error {
		g, err = d.readGeneration(context.Background(), tx, d.partitions.Of(group), "")
		return err
	})
	return g, err
}

func wantHoles(t testing.TB, db *DB, group string, want domain.Holes) {
	t.Helper()
	got, err := db.Holes(context.Background(), group)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("holes of %s (-want +got): %v\n%s", group, err, diff)
	}
}

func plantHole(t testing.TB, db *DB, group string, from, to int64, reason string) {
	t.Helper()
	execSQL(t, db, "INSERT INTO seq_hole (group_id, from_seq, to_seq, reason) VALUES (?, ?, ?, ?)", group, from, to, reason)
}

func timeOf(seq int64) int64 { return message("", seq, 0).TimeMS }

func TestOldMessagesBecomeOneHole(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("room"))
		create(t, db, "room")
		insert(t, db, append(messages("room", 3, 10, gen), messages("room", 13, 20, gen)...)...)
		insert(t, db, messages("Room", 1, 3, raise(t, db, db.partitions.Of("Room")))...)
		plantHole(t, db, "room", 1, 2, domain.HoleLost)
		plantHole(t, db, "room", 11, 11, domain.HoleLost)
		plantHole(t, db, "room", 12, 12, domain.HoleLost)
		plantHole(t, db, "room", 21, 50, domain.HoleLost)
		lost := []domain.Hole{{From: 11, To: 12, Reason: domain.HoleLost}, {From: 21, To: 50, Reason: domain.HoleLost}}
		for _, step := range []struct {
			why            string
			upTo, beforeMS int64
			limit, deleted int
			expired        int64 // end of the expired hole; 0: none
			left           string
		}{
			{"nothing is old", noBound, timeOf(3), 100, 0, 0, "3 4 5 6 7 8 9 10 13 14 15 16 17 18 19 20"},
			{"none may go", 2, timeOf(100), 100, 0, 0, "3 4 5 6 7 8 9 10 13 14 15 16 17 18 19 20"},
			{"older than", noBound, timeOf(5), 100, 2, 4, "5 6 7 8 9 10 13 14 15 16 17 18 19 20"},
			{"up to", 6, timeOf(100), 100, 2, 6, "7 8 9 10 13 14 15 16 17 18 19 20"},
			{"at most", noBound, timeOf(100), 3, 3, 9, "10 13 14 15 16 17 18 19 20"},
			{"up to a hole", 11, timeOf(100), 100, 1, 10, "13 14 15 16 17 18 19 20"},
			{"over holes", noBound, timeOf(15), 100, 2, 14, "15 16 17 18 19 20"},
			{"again", noBound, timeOf(15), 100, 0, 14, "15 16 17 18 19 20"},
			{"all", noBound, timeOf(100), 100, 6, 20, ""},
		} {
			if n := expireIn(t, db, "room", step.upTo, step.beforeMS, step.limit); n != step.deleted {
				t.Errorf("%s: got %d deleted, want %d", step.why, n, step.deleted)
			}
			if got := seqs(stored(t, db, "room")); got != step.left {
				t.Errorf("%s: got %s left, want %s", step.why, got, step.left)
			}
			var want domain.Holes
			if step.expired > 0 {
				want = domain.Holes{{From: 1, To: step.expired, Reason: domain.HoleExpired}}
			} else {
				want = domain.Holes{{From: 1, To: 2, Reason: domain.HoleLost}}
			}
			for _, h := range lost {
				if h.From > step.expired {
					want = append(want, h)
				}
			}
			wantHoles(t, db, "room", want)
		}
		floors, err := db.Floors(t.Context(), []string{"room"})
		if err != nil || floors["room"].MaxSeq != 50 {
			t.Errorf("floor: got %+v, %v, want 50", floors["room"], err)
		}
		if got := seqs(stored(t, db, "Room")); got != "1 2 3" {
			t.Errorf("messages of another group: got %s, want 1 2 3", got)
		}
	})
}

// A batch that a slow writer repeats brings back what was deleted: it goes again, and the hole stays as it was.
func TestMessagesThatCameBackGoAgain(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		const group = "dm:ann:bob"
		p := db.partitions.Of(group)
		gen := raise(t, db, p)
		create(t, db, group)
		msgs := messages(group, 1, 10, gen)
		for i := range msgs {
			msgs[i].GroupType, msgs[i].From = domain.Direct, "ann"
		}
		insert(t, db, msgs...)
		expireIn(t, db, group, noBound, timeOf(8), 100)
		insert(t, db, msgs[2:5]...)
		if n := expireIn(t, db, group, noBound, timeOf(8), 100); n != 3 {
			t.Errorf("got %d deleted again, want 3", n)
		}
		wantHoles(t, db, group, domain.Holes{{From: 1, To: 7, Reason: domain.HoleExpired}})
		if got, want := seedOne(t, db, raise(t, db, p), group).Sent, [2]int64{10, 0}; got != want {
			t.Errorf("messages of either side: got %v, want %v", got, want)
		}
	})
}

// That a message stands above an older one may not be; if it is, it is not deleted before its time.
func TestYoungMessagesAreNeverDeleted(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("room"))
		msgs := messages("room", 1, 5, gen)
		msgs[2].TimeMS = timeOf(100)
		insert(t, db, msgs...)
		if n := expireIn(t, db, "room", noBound, timeOf(50), 100); n != 2 {
			t.Errorf("got %d deleted, want 2", n)
		}
		if got := seqs(stored(t, db, "room")); got != "3 4 5" {
			t.Errorf("left: got %s, want 3 4 5", got)
		}
	})
}

func TestExpiryNeedsTheSettledGeneration(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		p := db.partitions.Of("room")
		old := raise(t, db, p)
		insert(t, db, messages("room", 1, 5, old)...)
		next, err := db.Renew(t.Context(), p, observed("another server"))
		if err != nil {
			t.Fatal(err)
		}
		for name, gen := range map[string]int64{"overtaken": old, "not settled": next.Gen, "unknown": next.Gen + 1} {
			n, err := db.Expire(t.Context(), domain.Expiry{Group: "room", Gen: gen, UpTo: noBound}, timeOf(100), 100)
			if n != 0 || !errors.Is(err, ErrGeneration) {
				t.Errorf("%s: got %d, %v, want ErrGeneration", name, n, err)
			}
		}
		if got := seqs(stored(t, db, "room")); got != "1 2 3 4 5" {
			t.Errorf("left: got %s, want all", got)
		}
	})
}

func TestOldGroupsAreFoundByTime(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		for i, g := range []string{"b", "a", "c"} {
			gen := raise(t, db, db.partitions.Of(g))
			for seq := int64(1); seq <= 3; seq++ {
				m := message(g, seq, gen)
				m.TimeMS = seq * int64(10+i) // b: 10 20 30, a: 11 22 33, c: 12 24 36
				insert(t, db, m)
			}
		}
		for _, c := range []struct {
			from, before int64
			limit        int
			want         string
		}{
			{0, 10, 5, "[] 10"},
			{0, 12, 5, "[b a] 12"},
			{0, 1000, 2, "[b a] 11"},
			{11, 1000, 4, "[a c b] 22"},
			{24, 1000, 3, "[c b a] 33"},
			{34, 1000, 3, "[c] 1000"},
			{36, 36, 3, "[] 36"},
		} {
			groups, next, err := db.OldGroups(t.Context(), c.from, c.before, c.limit)
			if got := fmt.Sprint(groups, " ", next); err != nil || got != c.want {
				t.Errorf("%+v: got %s, %v", c, got, err)
			}
		}
	})
}

// The oldest messages are found without looking at the others.
func TestOldGroupsReadsNoMoreThanItReturns(t *testing.T) {
	t.Parallel()
	db := openEmpty(t, "mysql")
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	insert(t, db, messages("room", 1, 3000, raise(t, db, db.partitions.Of("room")))...)
	db.sql.SetMaxOpenConns(1)
	read := func() int64 {
		conn, err := db.sql.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return rowsRead(t, conn)
	}
	before := read()
	if groups, _, err := db.OldGroups(t.Context(), 0, timeOf(2500), 100); err != nil || len(groups) != 1 {
		t.Fatal(groups, err)
	}
	if n := read() - before; n > 120 {
		t.Errorf("%d rows were read, want about 100", n)
	}
}

// The stranger limit goes on counting what is deleted: users' own messages, up to where it counts.
func TestWhatBothSidesWroteOutlivesTheRows(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		const one, both, many, apps = "dm:ann:bob", "dm:cleo:dora", "dm:eve:fay", "dm:gil:hal"
		write := func(group, from, operator string, first, last, gen int64) {
			msgs := messages(group, first, last, gen)
			for i := range msgs {
				msgs[i].GroupType, msgs[i].From, msgs[i].Operator = domain.Direct, from, operator
			}
			insert(t, db, msgs...)
		}
		groups := map[string][]([2]int64){ // what a seed says, after each step
			one:  {{2, 0}, {3, 0}, {3, 1}},
			both: {{2, 2}, {2, 2}, {2, 2}},
			many: {{domain.MaxStrangerLimit, 0}, {domain.MaxStrangerLimit, 0}, {domain.MaxStrangerLimit, 0}},
			apps: {{}, {}, {}},
		}
		for g := range groups {
			gen := raise(t, db, db.partitions.Of(g))
			create(t, db, g)
			switch g {
			case one:
				write(g, "ann", "", 1, 2, gen)
				write(g, domain.SystemUser, "key", 3, 4, gen)
			case both:
				write(g, "cleo", "", 1, 2, gen)
				write(g, "dora", "", 3, 4, gen)
			case many:
				write(g, "eve", "", 1, domain.MaxStrangerLimit+5, gen)
			case apps:
				write(g, "gil", "key", 1, 4, gen)
			}
		}
		seed := func(step int) {
			for g, want := range groups {
				if got := seedOne(t, db, raise(t, db, db.partitions.Of(g)), g).Sent; got != want[step] {
					t.Errorf("step %d, %s: got %v, want %v", step, g, got, want[step])
				}
			}
		}
		expire := func() {
			for g := range groups {
				expireIn(t, db, g, noBound, timeOf(1<<30), 700)
				expireIn(t, db, g, noBound, timeOf(1<<30), 700)
				if left := stored(t, db, g); len(left) > 0 {
					t.Fatalf("%s: %d messages are left", g, len(left))
				}
			}
		}
		expire()
		seed(0)
		gen, err := db.generationOf(one)
		if err != nil {
			t.Fatal(err)
		}
		write(one, "ann", "", 100, 100, gen.Gen)
		seed(1)
		expire()
		gen, err = db.generationOf(one)
		if err != nil {
			t.Fatal(err)
		}
		write(one, "bob", "", 300, 300, gen.Gen)
		seed(2)
	})
}

// The model is what every seq is: a message, a hole of each reason, or nothing yet. Whatever is written, lost, deleted
// and seeded in whatever order: rows and holes cover exactly the seqs that are accounted for, each once; what is gone is
// one hole from 1 on; and the floor never sinks.
func TestExpiryKeepsEverySeqAccountedFor(t *testing.T) {
	var groups atomic.Int64
	onEach(t, func(t *testing.T, db *DB) {
		rapid.Check(t, func(r *rapid.T) {
			m := newModel(t, db, fmt.Sprint("group", groups.Add(1)))
			for range rapid.IntRange(1, 12).Draw(r, "steps") {
				switch rapid.IntRange(0, 3).Draw(r, "step") {
				case 0:
					m.write(t, rapid.IntRange(1, 6).Draw(r, "messages"))
				case 1:
					m.lose(t, rapid.Int64Range(1, 4).Draw(r, "lost"))
				case 2:
					m.expire(r, rapid.Int64Range(0, m.top+2).Draw(r, "up to"), rapid.Int64Range(0, m.top+2).Draw(r, "older than"),
						rapid.IntRange(1, 8).Draw(r, "limit"))
				case 3:
					m.seed(t)
				}
				m.check(r)
			}
		})
	})
}

type model struct {
	db    *DB
	group string
	gen   int64
	top   int64            // every seq up to here is something
	is    map[int64]string // seq → "row", or the reason of its hole
}

func newModel(t testing.TB, db *DB, group string) *model {
	m := &model{db: db, group: group, gen: raise(t, db, db.partitions.Of(group)), is: make(map[int64]string)}
	create(t, db, group)
	seedOne(t, db, m.gen, group)
	return m
}

func (m *model) write(t testing.TB, n int) {
	insert(t, m.db, messages(m.group, m.top+1, m.top+int64(n), m.gen)...)
	for range n {
		m.top++
		m.is[m.top] = "row"
	}
}

func (m *model) lose(t testing.TB, n int64) {
	plantHole(t, m.db, m.group, m.top+1, m.top+n, domain.HoleLost)
	for range n {
		m.top++
		m.is[m.top] = domain.HoleLost
	}
}

func (m *model) seed(t testing.TB) {
	m.gen = raise(t, m.db, m.db.partitions.Of(m.group))
	for start := seedOne(t, m.db, m.gen, m.group).Start; m.top < start; {
		m.top++
		m.is[m.top] = domain.HoleLost
	}
}

func (m *model) expire(r *rapid.T, upTo, olderThan int64, limit int) {
	e := domain.Expiry{Group: m.group, Gen: m.gen, UpTo: upTo}
	n, err := m.db.Expire(context.Background(), e, timeOf(olderThan), limit)
	if err != nil {
		r.Fatal(err)
	}
	want := 0
	for seq := int64(1); seq <= upTo && seq < olderThan && want < limit; seq++ {
		if m.is[seq] == "row" {
			want++
			for i := int64(1); i <= seq; i++ {
				m.is[i] = domain.HoleExpired
			}
		}
	}
	if n != want {
		r.Fatalf("%d messages were deleted, want %d", n, want)
	}
}

func (m *model) check(r *rapid.T) {
	floors, err := m.db.Floors(context.Background(), []string{m.group})
	if err != nil {
		r.Fatal(err)
	}
	if got := floors[m.group].MaxSeq; got != m.top {
		r.Fatalf("floor: got %d, want %d", got, m.top)
	}
	records, err := m.db.Messages(context.Background(), domain.Range{Group: m.group, From: 1, To: noBound, Limit: 1 << 30})
	if err != nil {
		r.Fatal(err)
	}
	got := make(map[int64]string)
	put := func(seq int64, what string) {
		if was := got[seq]; was != "" {
			r.Fatalf("seq %d is %s and %s", seq, was, what)
		}
		got[seq] = what
	}
	for _, record := range records {
		put(record.Seq, "row")
	}
	expired := 0
	for _, h := range floors[m.group].Holes {
		for seq := h.From; seq <= h.To; seq++ {
			put(seq, h.Reason)
		}
		if h.Reason == domain.HoleExpired {
			expired++
		}
	}
	if diff := cmp.Diff(m.is, got); diff != "" || expired > 1 {
		r.Fatalf("%d expired holes; what seqs are (-want +got):\n%s", expired, diff)
	}
}

// Who seeds a group has its rows and holes to himself from his first look on.
func TestExpiryWaitsForASeed(t *testing.T) {
	t.Parallel()
	db := openEmpty(t, "mysql")
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	const group = "seeded-while-it-expires"
	gen := raise(t, db, db.partitions.Of(group))
	create(t, db, group)
	insert(t, db, messages(group, 1, 5, gen)...)
	tx, err := db.sql.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if young, err := db.createdIn(t.Context(), tx, gen, []string{group}); err != nil || !young[group] {
		t.Fatal(young, err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := db.Expire(context.Background(), domain.Expiry{Group: group, Gen: gen, UpTo: noBound}, timeOf(100), 100)
		done <- err
	}()
	waits := "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state='LOCK WAIT' AND trx_query LIKE '%" + group + "%'"
	for deadline, n := time.Now().Add(20*time.Second), 0; n == 0; {
		select {
		case err := <-done:
			t.Fatalf("the messages were deleted beside the seed: %v", err)
		case <-time.After(200 * time.Millisecond): // asked more often, it goes on telling what it told
		}
		if err := db.sql.QueryRowContext(t.Context(), waits).Scan(&n); err != nil || time.Now().After(deadline) {
			t.Fatal("nobody waits: ", err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if left := stored(t, db, group); len(left) > 0 {
		t.Errorf("%d messages are left, want none", len(left))
	}
}

// Instances that seed, write and delete at the same time leave neither gaps nor overlaps, nor do they deadlock for long.
func TestExpiryBesideSeedsAndWrites(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		var groups []string
		for i := 0; len(groups) < 12; i++ {
			if g := fmt.Sprint("room", i); db.partitions.Of(g) == 0 {
				groups = append(groups, g)
			}
		}
		tops := make(map[string]int64)
		for round := range int64(6) {
			gen := raise(t, db, 0)
			if round == 0 {
				for _, g := range groups {
					create(t, db, g)
				}
			}
			var wg sync.WaitGroup
			var seeds map[string]domain.Seed
			wg.Go(func() {
				var err error
				if seeds, err = db.Seed(t.Context(), 0, gen, groups); err != nil {
					t.Error(err)
				}
			})
			for range 2 {
				wg.Go(func() {
					for _, g := range groups {
						e := domain.Expiry{Group: g, Gen: gen, UpTo: noBound}
						if _, err := db.Expire(t.Context(), e, timeOf(tops[g]-2), 5); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			if t.Failed() {
				return
			}
			var msgs []domain.Message
			for _, g := range groups {
				start := seeds[g].Start
				msgs = append(msgs, message(g, start+1, gen), message(g, start+2, gen), message(g, start+5, gen)) // two are lost
				tops[g] = start + 5
			}
			insert(t, db, msgs...)
		}
		for _, g := range groups {
			wantAccounted(t, db, g, seedOne(t, db, raise(t, db, 0), g).Start)
		}
	})
}

// wantAccounted fails unless every seq up to top is one message or in one hole, and none above.
func wantAccounted(t testing.TB, db *DB, group string, top int64) {
	t.Helper()
	covered := make(map[int64]int)
	for line := range slices.Values(stored(t, db, group)) {
		var seq int64
		if _, err := fmt.Sscan(strings.Fields(line)[0], &seq); err != nil {
			t.Fatal(err)
		}
		covered[seq]++
	}
	holes, err := db.Holes(context.Background(), group)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range holes {
		for seq := h.From; seq <= h.To; seq++ {
			covered[seq]++
		}
	}
	for seq := range top {
		if covered[seq+1] != 1 {
			t.Fatalf("%s: seq %d is covered %d times; holes %v", group, seq+1, covered[seq+1], holes)
		}
	}
	if highest := slices.Max(slices.Collect(maps.Keys(covered))); highest > top {
		t.Fatalf("%s: seq %d is covered, want none above %d", group, highest, top)
	}
}

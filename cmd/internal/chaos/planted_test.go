package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// defect is a bug that is built into a hearth. Under its fault exactly its checks fail, where the sound hearth fails in
// none: a checker that finds nothing proves nothing else.
type defect struct {
	name    string
	short   bool // also in the short form
	fault   string
	strike  func(r *run) // instead of the fault's own
	red     string       // the check that must fail
	also    []string     // checks that may fail with it
	env     map[string]string
	changes []change // none: its sources are not there yet
}

var defects = []defect{
	{
		name: "a plain counter: nobody looks whether Redis is another server", fault: "power-loss", short: true,
		red: Reused, also: []string{Lost, Vanished, WrongSeq, WentBack, Reordered, Gap, Duplicate, StoredTwice, Unread, Heat, DurableLie},
		changes: []change{
			{"redisrepo/standing.lua", "local stale = known[1] ~= ARGV[1] or known[2] ~= identity", "local stale = known[1] ~= ARGV[1]"},
			{"domain/generation.go", "o.Gen == g.Gen && o.Server == g.Server && o.Identity == g.Server", "o.Gen == g.Gen"},
			{"jobs/generations.go", "if current > 0 && o.Gen == current && o.Server == o.Identity {", "if current > 0 && o.Gen == current {"},
			{"redisrepo/generation.go", " && field(known, 1) == c.identity()", ""},
		},
	},
	{
		name: "the counter starts again at MAX(msg_seq), without a jump", fault: "emptied-and-frozen",
		red: Reused, also: []string{Lost, Vanished, WrongSeq, WentBack, Reordered, Gap, Duplicate, Unread, Heat, HoleLies, DurableLie},
		changes: []change{{"mysqlrepo/seed.go", "starts[g] = tops[g].seq() + d.seqJump", "starts[g] = tops[g].seq()"}},
	},
	{
		name: "the append client repeats by itself, and sends without client_id have no id", fault: "replies-lost", short: true,
		red: StoredTwice, also: []string{WrongSeq, Reordered, WentBack},
		changes: []change{
			{"redisrepo/client.go", "once.MaxRetries = -1", "once.MaxRetries = 3"},
			{"redisrepo/append.lua", "local first = redis.call('GET', dedupe)", "local first = ARGV[a + 5] ~= '60000' and redis.call('GET', dedupe)"},
		},
	},
	{
		name: "MAXLEN on the write-behind log", fault: "mysql-frozen",
		red: Lost, also: []string{Vanished, DurableLie, Heat, Unread, Gap},
		changes: []change{{
			"redisrepo/append.lua", "local logged = redis.pcall('XADD', KEYS[3], '*',", "local logged = redis.pcall('XADD', KEYS[3], 'MAXLEN', '3', '*',",
		}},
	},
	{
		name: "the log is trimmed before the rows are committed", fault: "mysql-killed",
		red: Lost, also: []string{Vanished, DurableLie, Heat, Unread, Gap},
		changes: []change{{
			"jobs/persist.go",
			"	if err := w.insert(ctx, batches); err != nil {\n		if _, refused",
			"	if _, err := w.committed(ctx, batches); err != nil {\n		return 0, false, err\n	}\n	if err := w.insert(ctx, batches); err != nil {\n		if _, refused",
		}},
	},
	{
		name: "a subscriber without deadlines, and nobody compares heads", fault: "pubsub-silent-end",
		red: Gap,
		changes: []change{
			{"redisrepo/subscribe.go", "if time.Since(heard) > s.silenceLimit {", "if false && time.Since(heard) > s.silenceLimit {"},
			{"transport/repair.go", "behind := head.MaxSeq > f.last\n", "behind := false\n"},
		},
	},
	{
		name: "no check of the tail, also when a subscription comes back", fault: "pubsub-silent-end",
		red: Gap,
		changes: []change{
			{"transport/repair.go", "behind := head.MaxSeq > f.last\n", "behind := false\n"},
			{"transport/feed.go", "	f.doubtful = f.isLive\n	f.breaks++\n", "	if f.isLive {\n		return\n	}\n	f.breaks++\n"},
		},
	},
	{
		name: "INSERT IGNORE, and nobody counts the rows", fault: "none", strike: refuseRows,
		red: Lost, also: []string{Vanished, DurableLie, Heat, Unread, Gap},
		changes: []change{
			{"mysqlrepo/messages.go", `plain = &batch{head: "INSERT INTO`, `plain = &batch{head: "INSERT IGNORE INTO`},
			{"mysqlrepo/messages.go", `head:   "INSERT INTO`, `head:   "INSERT IGNORE INTO`},
			{"mysqlrepo/messages.go", "if added != int64(length) {", "if false && added != int64(length) {"},
		},
	},
	{
		name: "batches in no order", fault: "two-persisters", red: Deadlocked,
		env: map[string]string{"HEARTH_PERSIST_INTERVAL": "100ms"}, // larger batches
		changes: []change{
			{"mysqlrepo/messages.go", "	if !slices.IsSortedFunc(list, domain.CompareMessages) {\n		slices.SortStableFunc(list, domain.CompareMessages)\n	}\n", "	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })\n"},
			{"mysqlrepo/messages.go", "	\"fmt\"\n", "	\"fmt\"\n	\"math/rand/v2\"\n"},
		},
	},

	{
		name: "a watermark of another generation is believed", fault: "emptied-and-frozen",
		red: Lost, also: []string{Vanished, WrongSeq, WentBack, Gap, Duplicate, Unread, HoleLies, Heat},
		changes: []change{
			{"domain/journal.go", "return g.entries[i].gen >= gen })\n	end", "return true })\n	end"},
			{"domain/journal.go", "return e.gen > gen || e.seq > seq", "return e.seq > seq"},
		},
	},
	{
		name: "a new generation does not wait for the instances", fault: "two-masters",
		red: WentBack, also: []string{Lost, Vanished, WrongSeq, Reordered, Gap, Duplicate, StoredTwice, Unread, HoleLies, Heat},
		changes: []change{{
			"domain/generation.go", "if settled, err := g.awaitFlushes(ctx, partition, row.Gen); err != nil || settled {", "if settled, err := false, error(nil); err != nil || settled {",
		}},
	},
	{
		name: "the journal has what was acknowledged, not what was shown", fault: "emptied-and-killed",
		red: Vanished, also: []string{Lost, WrongSeq, WentBack, Gap, Duplicate, Unread, HoleLies, Heat},
		changes: []change{
			{"transport/feed.go", "if ok = f.hub.journal.KeepPush(p); ok {", "if ok = true; ok {"},
			{"redisrepo/recent.go", "if r.Seq > page.Committed && !s.journal.KeepRecord(page.of.Gen, page.Committed, r) {", "if false && r.Seq > 0 {"},
		},
	},
}

// caught are the defects that were found.
var caught catches

type catches struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (c *catches) add(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, line)
}

func (c *catches) list() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lines)
}

// maxTries is how often a defect's fault is run until its check fails.
const maxTries = 5

// TestPlantedDefects builds each defect into a hearth: its checks must fail.
func TestPlantedDefects(t *testing.T) {
	for n, d := range defects {
		t.Run(strings.ReplaceAll(d.name, " ", "_"), func(t *testing.T) {
			label := fmt.Sprint("defect-", n)
			if !wanted(label, d.short) {
				t.Skip("in make chaos only, or as " + label)
			}
			at := slices.IndexFunc(faults, func(f fault) bool { return f.name == d.fault })
			if at < 0 {
				t.Fatalf("no fault %q", d.fault)
			}
			f := faults[at]
			f.once = true
			if d.strike != nil {
				f.strike = d.strike
			}
			f.setup.binary = func(t testing.TB, _ int) string {
				return builds.build(t, label, d.changes...)
			}
			f.setup.broken = true
			if d.env != nil {
				f.setup.env = d.env
			}
			var found map[string]int
			for try := uint64(0); try < maxTries && found[d.red] == 0; try++ { // some take a coincidence of some milliseconds
				figures := f.run(t, seed()+try)
				figures.log(t)
				for check, n := range figures.Violations {
					if check != d.red && !slices.Contains(d.also, check) {
						t.Errorf("%s: %d, and it has nothing to do with this", check, n)
					}
				}
				found = figures.Violations
			}
			if found[d.red] == 0 {
				t.Errorf("%s: not found in %d runs; the last found %v", d.red, maxTries, found)
				return
			}
			caught.add(fmt.Sprintf("%s: `%s`, under *%s*", d.name, d.red, f.text))
		})
	}
	writeReport(t)
}

// TestPlantedDefectsFitTheSources: a change of the sources that takes a defect its place is noticed at once.
func TestPlantedDefectsFitTheSources(t *testing.T) {
	t.Parallel()
	for n, d := range defects {
		b := binaries{dir: t.TempDir()}
		b.overlay(t, fmt.Sprint("defect-", n), d.changes)
	}
	b := binaries{dir: t.TempDir()}
	b.overlay(t, "clock", clockOff(t, 1))
}

// refuseRows makes the database refuse every other row for a while.
func refuseRows(r *run) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := r.db.ExecContext(ctx, "ALTER TABLE group_msg ADD CONSTRAINT odd CHECK (msg_seq % 2 = 0 OR msg_time < "+fmt.Sprint(time.Now().UnixMilli())+")")
	r.must(err)
	r.goOn(time.Second)
	_, err = r.db.ExecContext(ctx, "ALTER TABLE group_msg DROP CONSTRAINT odd")
	r.must(err)
}

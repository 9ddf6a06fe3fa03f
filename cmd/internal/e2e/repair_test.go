package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRepairFloors: MySQL is put back to a backup although talk went on, with a Redis that lives and with one that is
// empty. After the repair no seq is given again, and what Redis had is back.
func TestRepairFloors(t *testing.T) {
	t.Parallel()
	for name, emptied := range map[string]bool{"Redis lives": false, "Redis is empty": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStack(t, setup{instances: 2})
			r := &restored{stack: s, t: t, users: names("u", 6), groups: names("g", 4)}
			r.talkAndRestore()
			if emptied {
				if err := s.rdb.FlushAll(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
			}
			r.repair(emptied)
			s.startTogether()
			r.goesOn(emptied)
			s.awaitPersisted(patience)
			s.sound()
		})
	}
}

// restored is a system whose MySQL went back.
type restored struct {
	*stack
	t             *testing.T
	users, groups []string
	before, after []ack // of the backup
	last          map[string]int64
}

// talkAndRestore also makes a group and adds a member of which the backup does not know.
func (r *restored) talkAndRestore() {
	r.t.Helper()
	for _, g := range r.groups {
		r.createGroup("group", g, r.users...)
	}
	r.createGroup("room", "quiet", r.users...)
	r.before = r.talk(400)
	r.awaitPersisted(patience)
	tables := r.backUp()
	r.createGroup("group", "late", r.users...)
	r.server(0).post("/v1/groups/g0/members", map[string]any{"members": []string{"guest"}}).ok(http.StatusOK, nil)
	r.groups = append(r.groups, "late")
	r.after = r.talk(600)
	for _, i := range r.instances {
		i.kill() // perhaps with something in the log
	}
	r.restore(tables)
	r.last = make(map[string]int64)
	for _, a := range slices.Concat(r.before, r.after) {
		r.last[a.Group] = max(r.last[a.Group], a.Seq)
	}
}

func (r *restored) talk(n int64) []ack {
	r.t.Helper()
	l := startLoad(r.stack, r.users, r.groups)
	l.awaitMore(n)
	return l.stop()
}

func (r *restored) backUp() (tables []string) {
	r.t.Helper()
	rows, err := r.db.QueryContext(r.t.Context(), "SHOW TABLES")
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			r.t.Fatal(err)
		}
		tables = append(tables, table)
	}
	for _, table := range tables {
		r.exec("CREATE TABLE backup_" + table + " LIKE " + table)
		r.exec("INSERT INTO backup_" + table + " SELECT * FROM " + table)
	}
	return tables
}

func (r *restored) restore(tables []string) {
	r.t.Helper()
	for _, table := range tables {
		r.exec("TRUNCATE " + table)
		r.exec("INSERT INTO " + table + " SELECT * FROM backup_" + table)
		r.exec("DROP TABLE backup_" + table)
	}
}

// repair is refused as long as instances seem to live, changes nothing without --yes, and nothing the second time.
func (r *restored) repair(emptied bool) {
	r.t.Helper()
	if code, out := r.says("repair", "floors"); !emptied && (code != 1 || !strings.Contains(out, "instances live: stop them first")) {
		r.t.Fatalf("repair floors while instances count as living: exit %d, %s; want 1", code, out)
	}
	await(r.t, patience, "the killed instances are dead", func() (bool, any) {
		code, out := r.says("repair", "floors")
		return code == 0, out
	})
	rows, holes := r.countRows(), r.count("SELECT COUNT(*) FROM seq_hole")
	_, dry := r.says("repair", "floors")
	if !strings.HasSuffix(dry, "written back: nothing was changed, --yes does it\n") || r.countRows() != rows || r.count("SELECT COUNT(*) FROM seq_hole") != holes {
		r.t.Fatalf("without --yes: %s; %d rows, there were %d", dry, r.countRows(), rows)
	}
	code, out := r.says("repair", "floors", "--yes")
	if want := strings.Replace(dry, "nothing was changed, --yes does it", "done", 1); code != 0 || out != want {
		r.t.Errorf("with --yes: exit %d\n%s; without it said\n%s", code, out, dry)
	}
	r.t.Log(out)
	if n, err := r.backlog(); err != nil || n != 0 {
		r.t.Errorf("entries in logs after the repair: got %d (%v), want none", n, err)
	}
	if code, out := r.says("repair", "floors", "--yes"); code != 0 || out != "0 groups, 0 messages written back: done\n" {
		r.t.Errorf("the second time: exit %d\n%s; want nothing", code, out)
	}
	if want := len(r.before) + len(r.after); !emptied && r.countRows() != want {
		r.t.Errorf("rows after the repair: got %d, want %d", r.countRows(), want)
	}
}

// goesOn looks with the eyes of those who were there: nobody is ahead of the group, and what comes is new.
func (r *restored) goesOn(emptied bool) {
	r.t.Helper()
	r.createGroup("group", "late", r.users...) // lost with MySQL; its id is free again
	for _, g := range r.groups {
		if p := overHTTP(r.user(0, "u0"), g)(r.t, "after_seq", r.last[g], 10); p.MaxSeq < r.last[g] && !(emptied && g == "late") { // of that one nothing is left
			r.t.Errorf("max_seq of %s: got %d, clients have seen %d", g, p.MaxSeq, r.last[g])
		}
	}
	begun := time.Now()
	again := r.talk(200)
	r.t.Logf("200 more messages in %v", time.Since(begun).Round(time.Millisecond))
	for _, a := range again {
		if a.Seq <= r.last[a.Group] {
			r.t.Fatalf("seq %d of %s was given before: there were up to %d", a.Seq, a.Group, r.last[a.Group])
		}
	}
	there := r.before
	if !emptied {
		there = slices.Concat(r.before, r.after)
	}
	acks := slices.Concat(there, again)
	r.exactlyOnce(acks)
	for n, g := range r.groups {
		messages, holes := forwards(r.t, overHTTP(r.user(n%2, "u0"), g), 200)
		sameMessages(r.t, "pulls of "+g, messages, ofGroup(acks, g))
		if err := covered(messages, merged(holes), 1, messages[len(messages)-1].Seq); err != nil {
			r.t.Errorf("history of %s: %v", g, err)
		}
	}
	if got := r.user(0, "u0").get("/v1/groups/quiet/messages").Status; got != http.StatusOK {
		r.t.Error(fmt.Sprint("quiet room: status ", got))
	}
}

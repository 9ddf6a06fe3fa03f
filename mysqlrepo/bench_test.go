package mysqlrepo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hearth/domain"
	"hearth/domain/testserver"
)

// BenchmarkInsertMessages is the persister's hot path: 200 users in 100 groups. Beside wall time it reports the CPU
// time of this process and of mariadbd for a row, which neighbours on the machine hardly move.
func BenchmarkInsertMessages(b *testing.B) {
	for _, c := range []struct {
		rows  int
		hooks bool
	}{{1, false}, {20, false}, {137, false}, {500, false}, {1000, false}, {20, true}, {1000, true}} {
		rows, name := c.rows, fmt.Sprint(c.rows, " rows")
		if c.hooks {
			name += ", webhooks"
		}
		b.Run(name, func(b *testing.B) {
			s := testserver.StartMySQL(b)
			db, err := Open(context.Background(), Config{DSN: s.DSN(), Hooks: c.hooks})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			if err := db.Migrate(context.Background()); err != nil {
				b.Fatal(err)
			}
			gens := make(map[int]int64)
			for p := range int(DefaultPartitions) {
				gens[p] = raise(b, db, p)
			}
			next := make([]int64, 100)
			msgs := make([]domain.Message, rows)
			count := 0
			b.ReportAllocs()
			own, server := ownCPU(b), processCPU(b, s.PID())
			for b.Loop() {
				for i := range msgs {
					g := count % len(next)
					next[g]++
					msgs[i] = benchMessage(g, next[g])
					count++
				}
				if err := db.InsertMessages(context.Background(), gens, msgs); err != nil {
					b.Fatal(err)
				}
			}
			perRow := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(count) }
			b.ReportMetric(perRow(ownCPU(b)-own), "client-µs/row")
			b.ReportMetric(perRow(processCPU(b, s.PID())-server), "server-µs/row")
			b.ReportMetric(float64(count)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

var benchBody = []byte(`[{"type":"text","text":"` + strings.Repeat("hello word ", 12) + `"}]`)

const benchHash = "0123456789abcdef0123456789abcdef"

func benchMessage(group int, seq int64) domain.Message {
	return domain.Message{
		Group: "group-" + strconv.Itoa(group), Seq: seq, TimeMS: 1_700_000_000_000 + seq, Gen: 1, GroupType: domain.Private,
		Header: domain.Header{From: "user-" + strconv.FormatInt(int64(group)*2+seq%2, 10), ClientID: "client-" + strconv.FormatInt(seq, 10)},
		Body:   benchBody, Hash: benchHash,
	}
}

func ownCPU(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// processCPU reads user and system time, in ticks of 10 ms, behind the name in parentheses.
func processCPU(b *testing.B, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Skip(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func BenchmarkMessages(b *testing.B) {
	db := openEmpty(b, "mysql")
	if err := db.Migrate(context.Background()); err != nil {
		b.Fatal(err)
	}
	var msgs []domain.Message
	for seq := range int64(5000) {
		msgs = append(msgs, benchMessage(1, seq+1))
	}
	insert(b, db, msgs...)
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		from := 1 + i%25*200
		records, err := db.Messages(context.Background(), domain.Range{Group: "group-1", From: from, To: 5000, Limit: 200})
		if err != nil || len(records) != 200 {
			b.Fatalf("got %d records, %v, want 200", len(records), err)
		}
	}
}

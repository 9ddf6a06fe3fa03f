package chaos

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// Results are what the faults of a run have cost, in their order. The zero value is empty.
type Results struct {
	mu   sync.Mutex // guards what follows
	list []Result
}

// Result is what a fault has cost.
type Result struct {
	Name, Text string
	Two        bool // two faults at once
	Figures
}

// Add notes a result.
func (r *Results) Add(result Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, result)
}

// About tells when and with what a report was made.
type About struct {
	Command  string
	Time     time.Time
	Seed     uint64
	Versions []string // of hearth and of what is below it
	Load     string
	Planted  []string // defects that were built in, and the check that found each
}

// column is a figure of the report.
type column struct {
	title  string
	figure func(Result) string
}

func count(checks ...string) func(Result) string {
	return func(r Result) string {
		n := 0
		for _, check := range checks {
			n += r.Violations[check]
		}
		return fmt.Sprint(n)
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()) }

var columns = []column{
	{"sent", func(r Result) string { return fmt.Sprint(r.Sent) }},
	{"acknowledged", func(r Result) string { return fmt.Sprint(r.Acked) }},
	{"lost", count(Lost)},
	{"stored twice", count(StoredTwice)},
	{"seqs reused", count(Reused)},
	{"out of order", count(Reordered, WentBack)},
	{"not delivered", count(Gap, Vanished, HoleLies)},
	{"other", count(WrongSeq, Unread, Heat, DurableLie, Duplicate, Refused)},
	{"silent s", func(r Result) string { return seconds(r.Silence) }},
	{"back s", func(r Result) string { return seconds(r.Back) }},
	{"stored s", func(r Result) string { return seconds(r.Stored) }},
	{"holes", func(r Result) string { return fmt.Sprint(r.Holes) }},
	{"deadlocks", func(r Result) string { return fmt.Sprint(r.Deadlocks) }},
}

// WriteReport writes the results as a page of Markdown.
func (r *Results) WriteReport(w io.Writer, about About) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "# Reliability\n\nWritten by `%s` on %s, seed %d; do not edit. %s\n\n", about.Command, about.Time.Format("2 January 2006"), about.Seed, about.Load)
	for _, version := range about.Versions {
		fmt.Fprintf(&b, "- %s\n", version)
	}
	b.WriteString("\n" + legend)
	b.WriteString("\n## One fault at a time\n\nThe promise: nothing acknowledged is lost, and every column from *lost* to *other* is 0.\n\n")
	writeTable(&b, r.list, false)
	b.WriteString("\n## Two faults at once\n\nMessages may be lost, and what follows from it when their senders repeat them: another seq, a wrong unread count, a\n" +
		"hole that fills again. Seqs are not reused, nothing is stored twice or in another order, and durable is no lie.\n\n")
	writeTable(&b, r.list, true)
	if len(about.Planted) > 0 {
		b.WriteString("\n## The checks are tested\n\nEach defect was built into a hearth, and exactly its checks failed:\n\n")
		for _, p := range about.Planted {
			fmt.Fprintf(&b, "- %s\n", p)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

const legend = `*Out of order*: accepted or pushed in another order than sent, pushed twice, or given a seq below one that was known.
*Not delivered*: shown to some and not to all, or told as a hole. *Other*: acknowledged with another seq than stored, wrong
unread count or heat, durable and not stored, a repeat answered as new, a good send refused. *Silent*: the longest time in
which a group took no message, the fault included. *Back*: from the end of the fault to the next message, in the slowest
group. *Stored*: from the last answer to the last row in MySQL. *Holes*: ranges of seqs that were skipped. *Deadlocks*: that the database broke up, those of the provoker included.
`

func writeTable(b *strings.Builder, list []Result, two bool) {
	titles := []string{"fault"}
	for _, c := range columns {
		titles = append(titles, c.title)
	}
	fmt.Fprintf(b, "| %s |\n|---|%s\n", strings.Join(titles, " | "), strings.Repeat("---:|", len(columns)))
	for _, r := range list {
		if r.Two != two {
			continue
		}
		cells := []string{r.Text}
		for _, c := range columns {
			cells = append(cells, c.figure(r))
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	}
}

// Broken are the single faults under which a promise did not hold.
func (r *Results) Broken() (names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, result := range r.list {
		if !result.Two && len(result.Violations) > 0 {
			names = append(names, result.Name)
		}
	}
	slices.Sort(names)
	return names
}

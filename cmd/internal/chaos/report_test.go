package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReportSaysWhatTheFaultsHaveCost(t *testing.T) {
	t.Parallel()
	var r Results
	r.Add(Result{Name: "a", Text: "one thing", Figures: Figures{
		Sent: 12, Acked: 11, Violations: map[string]int{Lost: 3, Reordered: 1, WentBack: 1}, Silence: 1500 * time.Millisecond, Holes: 7,
	}})
	r.Add(Result{Name: "b", Text: "two things", Two: true, Figures: Figures{Sent: 5, Acked: 4, Violations: map[string]int{Lost: 2}}})
	r.Add(Result{Name: "c", Text: "another", Figures: Figures{Sent: 1, Acked: 1}})
	var b strings.Builder
	require.NoError(t, r.WriteReport(&b, About{Command: "make chaos", Versions: []string{"Go 9"}, Planted: []string{"a defect: lost"}}))
	require.Contains(t, b.String(), "| one thing | 12 | 11 | 3 | 0 | 0 | 2 | 0 | 0 | 1.5 | 0.0 | 0.0 | 7 | 0 |\n| another | 1 | 1 | 0 |")
	_, two, found := strings.Cut(b.String(), "## Two faults")
	require.True(t, found)
	require.Contains(t, two, "| two things | 5 | 4 | 2 |")
	require.NotContains(t, two, "one thing")
	require.Contains(t, b.String(), "- Go 9\n")
	require.Contains(t, b.String(), "- a defect: lost\n")
	require.Equal(t, []string{"a"}, r.Broken())
}

func TestReportNamesTheVersions(t *testing.T) {
	list := versions(t)
	require.Len(t, list, 3)
	require.Regexp(t, `^hearth \S+, go1\.`, list[0])
	require.Regexp(t, `^Redis [0-9]+\.[0-9]`, list[1])
	require.Regexp(t, `^MariaDB or MySQL [0-9]+\.[0-9]`, list[2])
}

// writeReport writes domain/RELIABILITY.md when the whole ring has run.
func writeReport(t *testing.T) {
	t.Helper()
	if !long() || os.Getenv("HEARTH_CHAOS_FAULTS") != "" {
		return
	}
	z := usual()
	about := About{
		Command: "make chaos", Time: time.Now(), Seed: seed(), Versions: versions(t), Planted: caught.list(),
		Load: fmt.Sprintf("%d instances of hearth, %d senders and %d readers in %d groups, %d messages a second; servers, instances and clients on one machine with %d cores.",
			instances, z.senders, z.readers, z.groups, z.perSecond, runtime.NumCPU()),
	}
	file, err := os.Create(filepath.Join("..", "..", "..", "domain", "RELIABILITY.md"))
	require.NoError(t, err)
	require.NoError(t, results.WriteReport(file, about))
	require.NoError(t, file.Close())
}

// versions are those of hearth, Go and the servers.
func versions(t *testing.T) []string {
	t.Helper()
	commit, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		commit = []byte("without a commit")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s := &stack{t: t, setup: setup{}}
	s.startMySQL()
	var database string
	require.NoError(t, s.db.QueryRowContext(ctx, "SELECT VERSION()").Scan(&database))
	server, err := exec.Command("redis-server", "--version").Output()
	require.NoError(t, err)
	_, after, _ := strings.Cut(string(server), "v=")
	version, _, _ := strings.Cut(after, " ")
	return []string{
		"hearth " + strings.TrimSpace(string(commit)) + ", " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		"Redis " + version, "MariaDB or MySQL " + database,
	}
}

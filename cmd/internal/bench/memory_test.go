package bench

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMemoryIsReadFromStatus(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	write := func(status string) {
		require.NoError(t, os.MkdirAll(filepath.Join(proc, "7"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(proc, "7", "status"), []byte(status), 0o644))
	}
	m := memoryMeter{proc: proc, pids: map[string]int{"server": 7}}

	write("Name:\tVmRSS: 5 kB\nVmHWM:\t   99999 kB\nVmRSS:\t   34567 kB\nThreads:\t9\n")
	kib, err := m.read()
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"server": 34567}, kib)

	write("Name:\tgone\nState:\tZ (zombie)\n")
	_, err = m.read()
	require.ErrorContains(t, err, "memory of server")
}

func TestIdleReportArithmetic(t *testing.T) {
	t.Parallel()
	r := &IdleReport{Connections: 100, Memory: memoryEach(
		map[string]int64{"server": 20_000, "redis": 9_000}, map[string]int64{"server": 21_000, "redis": 9_100}, 100)}

	require.InDelta(t, 10, r.Memory.Each["server"], 1e-9)
	require.InDelta(t, 1, r.Memory.Each["redis"], 1e-9)
	require.InDelta(t, 11, r.Memory.KiBEach, 1e-9)
	require.Contains(t, textOf(r.text), "11.0 KiB a connection: redis 1.0, server 10.0")
	require.NoError(t, r.verdict(IdleConfig{MaxKiB: 11}))
	require.Equal(t, Missed, KindOf(r.verdict(IdleConfig{MaxKiB: 10})))
}

func TestTooFewFilesAreSaidPlainly(t *testing.T) {
	t.Parallel()
	require.NoError(t, enoughFiles(1000, 1000))

	err := enoughFiles(10_064, 4096)

	require.Equal(t, Setup, KindOf(err))
	require.ErrorContains(t, err, "allows a process 4096 open files (ulimit -Hn), 10000 connections need 10064")
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestVerifyAndRepairNeedTheStores(t *testing.T) {
	t.Parallel()
	away := append(servable()[:2:2], "HEARTH_MYSQL_DSN=u:hunter2@tcp(127.0.0.1:1)/hearth")
	for _, line := range []string{"verify", "repair floors --yes"} {
		got := hearth(t, nil, strings.Fields(line)...)
		require.Equal(t, exitConfig, got.status, line)
		require.Contains(t, got.stderr, "mysql.dsn: is required")

		got = hearth(t, away, strings.Fields(line)...)
		require.Equal(t, exitRuntime, got.status, "%s: could not look is not wrong", line)
		require.NotContains(t, got.stderr, "hunter2")
	}
	got := hearth(t, away, "verify", "--group", "a/b")
	require.Equal(t, exitConfig, got.status)
	require.Contains(t, got.stderr, "--group: must be 1 to 64 characters")
}

func TestAuditIsPrinted(t *testing.T) {
	t.Parallel()
	p := 3
	audit := &domain.Audit{Groups: 1, Messages: 2, Notes: []string{"1 dead letters"}, Findings: []domain.Finding{
		{Partition: &p, Check: domain.CheckGeneration, What: "not settled"},
	}}
	for n := range 12 {
		audit.Findings = append(audit.Findings, domain.Finding{Group: "tea", Check: domain.CheckReadMarks, What: fmt.Sprint("mark ", n)})
	}
	var out bytes.Buffer
	printAudit(&Process{Stdout: &out}, audit, 1230*time.Millisecond)
	lines := strings.Split(out.String(), "\n")
	require.Equal(t, "partition 3  generation  not settled", lines[0])
	require.Equal(t, "tea  read_marks  mark 0", lines[1])
	require.Equal(t, []string{
		"tea  read_marks  mark 9", "tea  read_marks  … and more: --json prints all", "note: 1 dead letters",
		"1 group, 2 messages checked in 1.2s: 13 findings", "",
	}, lines[10:])

	out.Reset()
	require.NoError(t, printAuditJSON(&Process{Stdout: &out}, audit, time.Second))
	var object struct {
		Sound    bool
		Seconds  float64
		Findings []map[string]any
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &object))
	require.False(t, object.Sound)
	require.Equal(t, 1.0, object.Seconds)
	require.Len(t, object.Findings, 13)
	require.Equal(t, map[string]any{"partition": 3.0, "check": "generation", "what": "not settled"}, object.Findings[0])
}

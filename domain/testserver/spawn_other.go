//go:build !linux

package testserver

import "os/exec"

func spawn(cmd *exec.Cmd) error { return cmd.Start() }

func endSpawner() {}

func stopped(int) bool { return true }

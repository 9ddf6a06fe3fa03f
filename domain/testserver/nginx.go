package testserver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// LaunchNginx starts an nginx that keeps its files in dir. configuration gives the text of its nginx.conf for the port
// that is free; what Debian has in /var and /run is put into dir instead. The caller stops it.
func LaunchNginx(dir string, configuration func(port int) string) (*Server, error) {
	binary, err := lookup("apt-get install nginx", "nginx")
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "nginx.conf")
	s := &Server{binary: binary, dir: dir, logs: filepath.Join(dir, "nginx.log"), ready: nginxReady}
	s.args = func(port int) []string {
		_ = os.WriteFile(conf, []byte(inFolder(configuration(port), dir)), 0o600) // nginx complains when it is not there
		return []string{
			"-p", dir, "-c", conf, "-e", s.logs,
			// One process, so that a kill leaves no workers behind; it runs as who started it.
			"-g", "daemon off; master_process off; pid " + filepath.Join(dir, "nginx.pid") + ";",
		}
	}
	if err := s.launch(); err != nil {
		return nil, err
	}
	return s, nil
}

// StartNginx gives the test an nginx of its own.
func StartNginx(t testing.TB, configuration func(port int) string) *Server {
	t.Helper()
	return private(t, func(dir string) (*Server, error) { return LaunchNginx(dir, configuration) })
}

// inFolder moves the logs of a configuration and the folders that nginx makes at every start.
func inFolder(configuration, dir string) string {
	folders := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		folders += fmt.Sprintf(" %s_temp_path %s;", kind, filepath.Join(dir, kind))
	}
	configuration = strings.Replace(configuration, "http {", "http {"+folders, 1)
	return strings.ReplaceAll(configuration, "/var/log/nginx/", dir+"/")
}

// nginxReady is nil once a request that no server would be asked for is refused.
func nginxReady(addr string) error {
	answer, err := exchange(addr, "READY?\r\n\r\n")
	if err != nil {
		return err
	}
	if !strings.Contains(answer, "400 Bad Request") {
		return fmt.Errorf("a bad request was answered with %q", answer)
	}
	return nil
}

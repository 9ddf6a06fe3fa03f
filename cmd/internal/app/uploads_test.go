package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"hearth/configs"
	"hearth/transport/httpapi"
)

func TestUploadsLieInAFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "not", "yet", "there")
	var log bytes.Buffer
	files, err := openUploads(t.Context(), configs.Uploads{Dir: dir}, zerolog.New(&log))
	require.NoError(t, err)
	require.NoError(t, files.WriteAll(t.Context(), "key", []byte("bytes"), nil))
	require.NoError(t, closeUploads(files))
	require.FileExists(t, filepath.Join(dir, "key"))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "the file and what is known of it: %v", entries)
	require.Empty(t, log.String())
}

func TestRestsOfKilledInstancesAreRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{
		"key": 48 * time.Hour, "key.attrs": 48 * time.Hour, "old.1879.tmp": 25 * time.Hour, "new.1879.tmp": 23 * time.Hour,
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		require.NoError(t, os.Chtimes(path, time.Now(), time.Now().Add(-age)))
	}
	files, err := openUploads(t.Context(), configs.Uploads{Dir: dir}, zerolog.Nop())
	require.NoError(t, err)
	require.NoError(t, closeUploads(files))
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	for n := range left {
		left[n] = filepath.Base(left[n])
	}
	require.Equal(t, []string{"key", "key.attrs", "new.1879.tmp"}, left)
}

func TestAFolderThatCannotBeUsedMeansNoUploads(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		var log bytes.Buffer
		files, err := openUploads(t.Context(), configs.Uploads{Dir: dir}, zerolog.New(&log))
		require.NoError(t, err)
		require.Nil(t, files)
		require.Contains(t, log.String(), `"level":"error"`)
		require.Contains(t, log.String(), "uploads are off")
	}
	files, err := openUploads(t.Context(), configs.Uploads{}, zerolog.Nop())
	require.NoError(t, err)
	require.Nil(t, files)
	require.NoError(t, closeUploads(files))
}

func TestUploadsHaveASecretInEveryConfiguration(t *testing.T) {
	t.Parallel()
	cfg := configs.Default()
	cfg.Auth.JWTHMACSecret = "of the tokens"
	require.Equal(t, "of the tokens", string(uploadsConfig(cfg, nil).Secret))
	cfg.Uploads.Secret = "its own"
	require.Equal(t, "its own", string(uploadsConfig(cfg, nil).Secret))
}

func TestABucketOfS3ThatCannotBeRefusesToStart(t *testing.T) {
	t.Parallel()
	_, err := openUploads(t.Context(), configs.Uploads{BucketURL: "s3://files?regoin=x"}, zerolog.Nop())
	require.ErrorContains(t, err, "uploads.bucket_url")
}

func TestUploadsInS3(t *testing.T) { // not parallel: credentials come from the environment
	t.Setenv("AWS_ACCESS_KEY_ID", "id-of-the-tests")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-tests")
	server := httptest.NewServer(&fakeS3{objects: map[string]object{}})
	defer server.Close()
	files, err := openUploads(t.Context(), configs.Uploads{
		BucketURL: "s3://files?region=eu-central-1&use_path_style=true&request_checksum_calculation=when_required&endpoint=" + url.QueryEscape(server.URL),
	}, zerolog.Nop())
	require.NoError(t, err)
	defer func() { require.NoError(t, closeUploads(files)) }()
	slot := httpapi.UploadSlot{Key: "k1", Name: "画.png", ContentType: "image/png", Bytes: 5, Expires: time.Now().Add(time.Minute)}

	t.Run("through an instance", func(t *testing.T) {
		options := &blob.WriterOptions{ContentType: slot.ContentType, Metadata: slot.Metadata(), IfNotExist: true, MaxConcurrency: 1}
		require.NoError(t, files.WriteAll(t.Context(), "k0", []byte("bytes"), options))
		err := files.WriteAll(t.Context(), "k0", []byte("other"), options)
		require.Equal(t, gcerrors.FailedPrecondition, gcerrors.Code(err), err)
		requireStored(t, files, "k0", slot)
	})
	t.Run("directly", func(t *testing.T) {
		cfg := configs.Default()
		cfg.Uploads.Direct = true
		target, headers, err := uploadsConfig(cfg, files).Direct(t.Context(), slot)
		require.NoError(t, err)
		require.NotContains(t, target, "secret-of-the-tests")
		signed, err := url.Parse(target)
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"content-length", "content-type", "host", "if-none-match", "x-amz-meta-name"},
			strings.Split(signed.Query().Get("X-Amz-SignedHeaders"), ";"))
		put := func() int {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, target, strings.NewReader("bytes"))
			require.NoError(t, err)
			for name, value := range headers {
				r.Header.Set(name, value)
			}
			got, err := server.Client().Do(r)
			require.NoError(t, err)
			require.NoError(t, got.Body.Close())
			return got.StatusCode
		}
		require.Equal(t, 200, put())
		require.Equal(t, 412, put())
		requireStored(t, files, "k1", slot)
	})
	t.Run("broken off", func(t *testing.T) { // as httpapi gives up
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		writer, err := files.NewWriter(ctx, "k2", &blob.WriterOptions{ContentType: slot.ContentType, IfNotExist: true})
		require.NoError(t, err)
		_, err = writer.Write([]byte("byt"))
		require.NoError(t, err)
		cancel()
		require.Error(t, writer.Close())
	})
	t.Run("nothing there", func(t *testing.T) {
		_, err := files.Attributes(t.Context(), "k2")
		require.Equal(t, gcerrors.NotFound, gcerrors.Code(err), err)
	})
}

// requireStored checks what is asked of a bucket when an upload is served.
func requireStored(t *testing.T, files *blob.Bucket, key string, slot httpapi.UploadSlot) {
	t.Helper()
	attributes, err := files.Attributes(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, slot.Metadata(), attributes.Metadata)
	require.Equal(t, slot.ContentType, attributes.ContentType)
	require.Equal(t, slot.Bytes, attributes.Size)
	part, err := files.NewRangeReader(t.Context(), key, 2, -1, nil)
	require.NoError(t, err)
	content, err := io.ReadAll(part)
	require.NoError(t, err)
	require.NoError(t, part.Close())
	require.Equal(t, "tes", string(content))
}

// fakeS3 is as much of S3 as uploads ask for. It believes every signature.
type fakeS3 struct {
	mu      sync.Mutex // guards objects
	objects map[string]object
}

type object struct {
	header  http.Header
	content []byte
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, found := f.objects[r.URL.Path]
	switch {
	case r.Method == http.MethodPut && found && r.Header.Get("If-None-Match") == "*":
		w.WriteHeader(http.StatusPreconditionFailed)
		fmt.Fprint(w, "<Error><Code>PreconditionFailed</Code></Error>")
	case r.Method == http.MethodPut:
		content, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		f.objects[r.URL.Path] = object{r.Header, content}
	case !found:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, "<Error><Code>NoSuchKey</Code></Error>")
	default:
		for _, name := range []string{"Content-Type", "X-Amz-Meta-Name"} {
			w.Header().Set(name, o.header.Get(name))
		}
		http.ServeContent(w, r, "", time.Unix(1, 0), bytes.NewReader(o.content))
	}
}

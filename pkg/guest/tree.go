package guest

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"vmctl/pkg/fault"
)

// treeSize is what the files of a directory have in them.
func treeSize(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				size += info.Size()
			}
		}
		return err
	})
	return size, err
}

// pack writes a directory's content as a tar archive. Owners are left out: the person's
// are nobody's in the guest.
func pack(ctx context.Context, dir string, to io.Writer, skipped func(string)) error {
	w := tar.NewWriter(to)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(dir, name)
		if err != nil || relative == "." {
			return err
		}
		return packEntry(w, name, filepath.ToSlash(relative), d, skipped)
	})
	if err != nil {
		return err
	}
	return w.Close()
}

func packEntry(w *tar.Writer, name, relative string, d fs.DirEntry, skipped func(string)) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	link := ""
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		if link, err = os.Readlink(name); err != nil {
			return err
		}
	case !info.IsDir() && !info.Mode().IsRegular():
		if skipped != nil {
			skipped(name)
		}
		return nil
	}
	header, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	header.Name, header.Uid, header.Gid, header.Uname, header.Gname = relative, 0, 0, "", ""
	header.Format = tar.FormatGNU // what BusyBox reads, too
	header.AccessTime, header.ChangeTime = time.Time{}, time.Time{}
	if info.IsDir() {
		header.Name += "/"
	}
	if err := w.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
		return err
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	_, err = io.CopyN(w, file, info.Size())
	if errors.Is(err, io.EOF) {
		err = fault.New(fault.Other, "%s became shorter while it was copied", name)
	}
	return err
}

// maxPath is the longest path of an archive: as long as one that Linux opens.
const maxPath = 4096

// unpack reads an archive, which a guest made, into an empty directory. Nothing in it can
// reach outside (os.Root), and what is no file, directory or link is left out.
func unpack(from io.Reader, dir string, skipped func(string)) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	// Directories get their modes last: one that may not be written to is filled first.
	modes := map[string]fs.FileMode{}
	archive := tar.NewReader(from)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fault.New(fault.Other, "the archive that the guest sends is broken: %w", err)
		}
		if len(header.Name) > maxPath {
			return fault.New(fault.Other, "the archive that the guest sends has a path of %d bytes", len(header.Name))
		}
		name := filepath.Clean(strings.TrimLeft(header.Name, "/"))
		if err := unpackEntry(root, archive, header, name, modes, skipped); err != nil {
			return fault.New(fault.Other, "cannot unpack %q of what the guest sends: %w", header.Name, err)
		}
	}
	_, err = io.Copy(io.Discard, from) // the padding behind the end
	for name, mode := range modes {
		err = errors.Join(err, root.Chmod(name, mode))
	}
	return err
}

func unpackEntry(root *os.Root, archive *tar.Reader, header *tar.Header, name string, modes map[string]fs.FileMode, skipped func(string)) error {
	mode := header.FileInfo().Mode() & writtenHere
	if up := filepath.Dir(name); up != "." {
		if err := root.MkdirAll(up, 0o755); err != nil {
			return err
		}
	}
	switch header.Typeflag {
	case tar.TypeDir:
		modes[name] = mode
		if err := root.MkdirAll(name, 0o755); err != nil {
			return err
		}
		return nil
	case tar.TypeReg:
		file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(file, archive)
		return errors.Join(err, file.Chmod(mode), file.Close())
	case tar.TypeSymlink:
		return root.Symlink(header.Linkname, name)
	case tar.TypeLink:
		return root.Link(filepath.Clean(strings.TrimLeft(header.Linkname, "/")), name)
	}
	if skipped != nil {
		skipped(name)
	}
	return nil
}

// merge moves a finished copy to its place, into a directory that may be there already.
func merge(from, to string) error {
	there, err := os.Lstat(to)
	if errors.Is(err, fs.ErrNotExist) {
		return os.Rename(from, to)
	}
	if err != nil {
		return err
	}
	source, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if !source.IsDir() || !there.IsDir() {
		if source.IsDir() != there.IsDir() {
			return fault.New(fault.Refused, "%s is there already, and one of both is no directory", to)
		}
		return os.Rename(from, to)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := merge(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

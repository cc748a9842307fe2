"""What can go wrong with an installation, before it begins and while it runs."""

from __future__ import annotations

from sgldoctor.errors import ExitCode, SgldoctorError


class InstallRefusedError(SgldoctorError):
    """The installation cannot begin; nothing was made or changed."""

    exit_code = ExitCode.CANNOT


class InstallFailedError(SgldoctorError):
    """A step of the installation failed, or what it installed does not hold."""

    exit_code = ExitCode.INSTALL_FAILED

"""What these tests share with those of launches."""

from tests.test_launch import bench as bench
from tests.test_launch import python_image as python_image
